package dc

import (
	"crypto/aes"
	"crypto/tls"
	"net"
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

func tlsServer(nc net.Conn, conf *tls.Config) net.Conn { return tls.Server(nc, conf) }
