package dc

import (
	"crypto/aes"
	"testing"
)

func rawAES(t *testing.T, key []byte) *aesCipher {
	t.Helper()
	b, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return &aesCipher{block: b}
}
