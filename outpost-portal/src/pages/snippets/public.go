package webhooks

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Verify tells why a request is not to be trusted; nil: it is genuine and not older than five minutes.
// body: the bytes as they came, before any parsing.
func Verify(header http.Header, body []byte) error {
	text := os.Getenv("WEBHOOK_PUBLIC_KEY")
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whpk_"))
	if !strings.HasPrefix(text, "whpk_") || err != nil || len(key) != ed25519.PublicKeySize {
		return errors.New("WEBHOOK_PUBLIC_KEY is not set")
	}

	id, timestamp := header.Get("HEADER_ID"), header.Get("HEADER_TIMESTAMP")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("no timestamp")
	}
	if age := time.Since(time.Unix(seconds, 0)); age > 5*time.Minute || age < -5*time.Minute {
		return errors.New("too old, or from the future")
	}

	signed := append([]byte(id+"."+timestamp+"."), body...)
	// There are two signatures while an old key is still valid.
	for _, given := range strings.Split(header.Get("HEADER_SIGNATURE"), " ") {
		signature, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(given, "v1a,"))
		if strings.HasPrefix(given, "v1a,") && err == nil && ed25519.Verify(key, signed, signature) {
			return nil
		}
	}
	return errors.New("no signature matches")
}
