package sdk

import (
	"net/http"
	"strconv"
	"sync"
)

// place is how far the log was when a write was last answered.
//
// Invariant: within one epoch it only grows, in whatever order the answers arrive. Positions of
// different epochs do not compare: then the log that answered last is the one that counts.
type place struct {
	mutex    sync.Mutex
	epoch    string
	position int64
}

// wrote takes in the headers of a successful write.
func (p *place) wrote(header http.Header) {
	position, ok := positionIn(header, "Log-Position")
	if !ok {
		return // an intermediary took it away
	}
	epoch := header.Get("Log-Epoch")
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if epoch != p.epoch || position > p.position {
		p.epoch, p.position = epoch, position
	}
}

func (p *place) last() int64 {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.position
}

func positionIn(header http.Header, name string) (int64, bool) {
	position, err := strconv.ParseInt(header.Get(name), 10, 64)
	return position, err == nil && position >= 0
}
