package dc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/common"
	"github.com/jcmturner/gokrb5/v8/types"
)

var (
	errShortCipher = errors.New("encrypted message is too short")
	errIntegrity   = errors.New("integrity check does not hold")
)

const (
	block   = aes.BlockSize
	macSize = 12 // HMAC-SHA1-96
)

// An aesCipher is aes128-cts-hmac-sha1-96 or aes256-cts-hmac-sha1-96 (RFC 3962)
// under one key and key usage. It is used by one goroutine at a time.
//
// gokrb5 derives the keys anew for each message, which costs more than the
// encryption itself when every entry of a scan is a message of its own; this
// type derives them once. The ciphers are the standard library's.
type aesCipher struct {
	block cipher.Block
	mac   hash.Hash
	sum   [sha1.Size]byte
}

func newCipher(key types.EncryptionKey, usage uint32) (*aesCipher, error) {
	if !strong(key.KeyType) {
		return nil, fmt.Errorf("encryption type %d is not supported", key.KeyType)
	}
	et, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		return nil, err
	}
	if len(key.KeyValue) != et.GetKeyByteSize() {
		return nil, fmt.Errorf("key of %d bytes for encryption type %d", len(key.KeyValue), key.KeyType)
	}
	ke, err := et.DeriveKey(key.KeyValue, common.GetUsageKe(usage))
	if err != nil {
		return nil, err
	}
	ki, err := et.DeriveKey(key.KeyValue, common.GetUsageKi(usage))
	if err != nil {
		return nil, err
	}
	b, err := aes.NewCipher(ke)
	if err != nil {
		return nil, err
	}
	return &aesCipher{block: b, mac: hmac.New(sha1.New, ki)}, nil
}

// sealOverhead is how much longer a sealed message is than the plain one.
const sealOverhead = block + macSize

func (c *aesCipher) tag(plain []byte) []byte {
	c.mac.Reset()
	c.mac.Write(plain)
	return c.mac.Sum(c.sum[:0])[:macSize]
}

// seal returns E(confounder | plain) | HMAC(confounder | plain).
func (c *aesCipher) seal(plain []byte) ([]byte, error) {
	n := block + len(plain)
	out := make([]byte, n, n+block+macSize)
	if _, err := rand.Read(out[:block]); err != nil {
		return nil, err
	}
	copy(out[block:], plain)
	tag := c.tag(out)
	c.encryptCTS(out)
	return append(out[:n], tag...), nil
}

// open is the inverse of seal; it decrypts in place.
func (c *aesCipher) open(b []byte) ([]byte, error) {
	if len(b) < block+macSize {
		return nil, errShortCipher
	}
	body, tag := b[:len(b)-macSize], b[len(b)-macSize:]
	c.decryptCTS(body)
	if !hmac.Equal(c.tag(body), tag) {
		return nil, errIntegrity
	}
	return body[block:], nil
}

// encryptCTS encrypts in place with ciphertext stealing, CBC-CS3 with a zero IV
// (RFC 3962 5). b has a capacity of one block more than its length.
func (c *aesCipher) encryptCTS(b []byte) {
	n := len(b)
	last := n % block
	if last == 0 {
		last = block
	}
	full := b[:n-last+block]
	clear(full[n:])
	var iv [block]byte
	cipher.NewCBCEncrypter(c.block, iv[:]).CryptBlocks(full, full)
	if len(full) == block {
		return
	}
	end := full[len(full)-2*block:]
	var tmp [block]byte
	copy(tmp[:], end[:block])
	copy(end[:block], end[block:])
	copy(end[block:block+last], tmp[:last])
}

// decryptCTS is the inverse of encryptCTS, in place.
func (c *aesCipher) decryptCTS(b []byte) {
	n := len(b)
	last := n % block
	if last == 0 {
		last = block
	}
	head := n - last - block // bytes before the last two blocks
	var iv [block]byte
	if head < 0 { // a single block
		c.block.Decrypt(b, b)
		return
	}
	if head > 0 {
		prev := [block]byte(b[head-block : head])
		cipher.NewCBCDecrypter(c.block, iv[:]).CryptBlocks(b[:head], b[:head])
		iv = prev
	}
	var d, stolen, first [block]byte
	c.block.Decrypt(d[:], b[head:head+block])
	tail := b[head+block:]
	copy(stolen[:], tail)
	copy(stolen[last:], d[last:])
	for i := range tail {
		tail[i] ^= d[i]
	}
	c.block.Decrypt(first[:], stolen[:])
	for i := range first {
		b[head+i] = first[i] ^ iv[i]
	}
}
