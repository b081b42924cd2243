package sdk

import (
	"context"
	"sync/atomic"
	"time"
)

// quiet ends a request in which nothing arrives for too long, however long all of it takes.
type quiet struct {
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelFunc
	isOver atomic.Bool
}

// watch returns a context that ends so, and begins to wait.
func watch(ctx context.Context, limit time.Duration) (context.Context, *quiet) {
	ctx, cancel := context.WithCancel(ctx)
	watching := &quiet{limit: limit, cancel: cancel}
	watching.timer = time.AfterFunc(limit, func() {
		watching.isOver.Store(true)
		cancel()
	})
	return ctx, watching
}

// pause stops waiting, while the caller works with what has arrived.
func (q *quiet) pause() {
	q.timer.Stop()
}

func (q *quiet) resume() {
	q.timer.Reset(q.limit)
}

func (q *quiet) end() {
	q.timer.Stop()
	q.cancel()
}

// explain calls what ended in a cancellation by us a timeout.
func (q *quiet) explain(failure *Error) *Error {
	if failure.Code != CodeNoAnswer || !q.isOver.Load() {
		return failure
	}
	return noAnswer(failure.route, context.DeadlineExceeded)
}
