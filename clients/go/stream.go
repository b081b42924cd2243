package sdk

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
)

const (
	// lineBytesMax is for one event. A body is at most 256 KiB, and an event holds little more.
	lineBytesMax   = 4 << 20
	lineBytesFirst = 64 << 10
)

// stream is one answer of the feed, read line by line.
type stream struct {
	body     io.Closer
	lines    *bufio.Scanner
	quiet    *quiet
	position int64
	epoch    string
}

// open is one attempt up to the headers of an answer.
func (c *caller) open(ctx context.Context, made *request) (*stream, *Error) {
	ctx, quiet := watch(ctx, c.timeout)
	response, failure := c.send(ctx, made)
	if failure != nil {
		failure = quiet.explain(failure)
		quiet.end()
		return nil, failure
	}
	position, ok := positionIn(response.Header, "As-Of-Position")
	if !ok {
		response.Body.Close()
		quiet.end()
		return nil, unexpected(made.route, response, "the answer has no As-Of-Position", nil)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, lineBytesFirst), lineBytesMax)
	lines.Split(wholeLines)
	epoch := response.Header.Get("Log-Epoch")
	return &stream{response.Body, lines, quiet, position, epoch}, nil
}

// next is the next line, which is good until the call after; nil at the end.
func (s *stream) next() ([]byte, *Error) {
	s.quiet.resume()
	defer s.quiet.pause()
	if s.lines.Scan() {
		return s.lines.Bytes(), nil
	}
	err := s.lines.Err()
	switch {
	case err == nil:
		return nil, nil
	case errors.Is(err, bufio.ErrTooLong):
		const detail = "a line is longer than this client reads"
		return nil, &Error{route: readFeed, Code: CodeUnexpectedAnswer, Detail: detail, cause: err}
	}
	return nil, s.quiet.explain(noAnswer(readFeed, err))
}

func (s *stream) close() {
	s.quiet.end()
	// Only that it cannot be read any more could be told.
	_ = s.body.Close()
}

// wholeLines splits at line feeds. What comes after the last one is a line that was cut off.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if place := bytes.IndexByte(data, '\n'); place >= 0 {
		return place + 1, data[:place], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}
