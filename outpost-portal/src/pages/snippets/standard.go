package webhooks

import (
	"crypto/hmac"
	"crypto/sha256"
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
	secret := os.Getenv("WEBHOOK_SECRET")
	encoded := strings.TrimRight(strings.TrimPrefix(secret, "whsec_"), "=")
	key, err := base64.RawStdEncoding.DecodeString(encoded)
	if !strings.HasPrefix(secret, "whsec_") || err != nil || len(key) == 0 {
		return errors.New("WEBHOOK_SECRET is not set")
	}

	id, timestamp := header.Get("HEADER_ID"), header.Get("HEADER_TIMESTAMP")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("no timestamp")
	}
	if age := time.Since(time.Unix(seconds, 0)); age > 5*time.Minute || age < -5*time.Minute {
		return errors.New("too old, or from the future")
	}

	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	// There are two signatures while an old secret is still valid.
	for _, given := range strings.Split(header.Get("HEADER_SIGNATURE"), " ") {
		if hmac.Equal([]byte(given), expected) {
			return nil
		}
	}
	return errors.New("no signature matches")
}
