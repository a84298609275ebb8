mod webhook_support;
