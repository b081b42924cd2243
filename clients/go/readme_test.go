package sdk_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var goBlocks = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestTheReadmeShowsTheExamples holds every snippet of the README to code that runs. The whole
// program in it is run against the service itself, by the service's tests.
func TestTheReadmeShowsTheExamples(t *testing.T) {
	examples := withoutIndent(t, "example_test.go")
	count := 0
	for _, block := range goBlocks.FindAllStringSubmatch(read(t, "README.md"), -1) {
		if strings.HasPrefix(block[1], "package main\n") {
			continue
		}
		count++
		if !strings.Contains(examples, unindented(block[1])) {
			t.Errorf("no example has this:\n%s", block[1])
		}
	}
	if count < 5 {
		t.Errorf("only %d snippets were found", count)
	}
}

func withoutIndent(t *testing.T, name string) string {
	return unindented(read(t, name))
}

func unindented(text string) string {
	return regexp.MustCompile(`(?m)^\t+`).ReplaceAllString(text, "")
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
