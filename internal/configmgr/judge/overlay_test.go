package judge

import "testing/fstest"

// An overlay is a file system of texts.
type overlay map[string]string

func (o overlay) fs() fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range o {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}
