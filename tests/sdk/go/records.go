package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/launchdarkly/go-server-sdk/v7/subsystems/ldstoreimpl"
)

// The largest record that is taken, in bytes.
const recordMax = 64 * 1024 * 1024

// Reads records with the reader that a relay uses for its store, and writes each again as a relay would.
// A record comes as its length (32 bits, big endian) and its bytes. The answer is a letter, a version (64 bits), a length
// and that many bytes: "r" (it was read; the bytes are the record written again), "n" (the same, although it is no JSON to
// Go's own parser, or no UTF-8) or "e" (it was not read; the error).
func readRecords(from io.Reader, to io.Writer) error {
	in, out := bufio.NewReader(from), bufio.NewWriter(to)
	for {
		var length uint32
		if err := binary.Read(in, binary.BigEndian, &length); errors.Is(err, io.EOF) {
			return out.Flush()
		} else if err != nil {
			return err
		}
		if length > recordMax {
			return errors.New("a record that is too long")
		}
		record := make([]byte, length)
		if _, err := io.ReadFull(in, record); err != nil {
			return err
		}
		letter, version, text := byte('r'), int64(0), []byte(nil)
		if item, err := ldstoreimpl.Features().Deserialize(record); err != nil {
			letter, text = 'e', []byte(err.Error())
		} else {
			version, text = int64(item.Version), ldstoreimpl.Features().Serialize(item)
			if !json.Valid(record) || !utf8.Valid(record) {
				letter = 'n'
			}
		}
		// What a buffered writer could not write, Flush tells.
		_ = out.WriteByte(letter)
		_ = binary.Write(out, binary.BigEndian, version)
		_ = binary.Write(out, binary.BigEndian, uint32(len(text)))
		_, _ = out.Write(text)
	}
}
