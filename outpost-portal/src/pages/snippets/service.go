package webhooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"strings"
BEGIN_TIME
	"time"
END_TIME
)

// Verify tells why a request is not to be trusted; nil: it is genuine.
// body: the bytes as they came, before any parsing.
func Verify(header http.Header, body []byte) error {
	secret := os.Getenv("WEBHOOK_SECRET")
	if secret == "" {
		return errors.New("WEBHOOK_SECRET is not set")
	}
BEGIN_TIME

	// The signature does not cover the time, so remember the ids that you have seen as well.
	sent, err := time.Parse(time.RFC3339, header.Get("HEADER_TIMESTAMP"))
	if err != nil {
		return errors.New("no timestamp")
	}
	if age := time.Since(sent); age > 5*time.Minute || age < -5*time.Minute {
		return errors.New("too old, or from the future")
	}
END_TIME

	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	expected := []byte(hex.EncodeToString(mac.Sum(nil)))
	list := header.Get("HEADER_SIGNATURE")
	if !strings.HasPrefix(list, "v0=") {
		return errors.New("no signature")
	}
	// There are two signatures while an old secret is still valid.
	for _, given := range strings.Split(strings.TrimPrefix(list, "v0="), ",") {
		if hmac.Equal([]byte(given), expected) {
			return nil
		}
	}
	return errors.New("no signature matches")
}
