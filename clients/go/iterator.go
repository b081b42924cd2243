package sdk

import "context"

// Iterator goes through a list of any length, a page at a time. It is for one goroutine.
//
//	for it.Next(ctx) {
//		use(it.Item())
//	}
//	if err := it.Err(); err != nil {
//		return err
//	}
type Iterator[T any] struct {
	from   route
	fetch  func(ctx context.Context, cursor string) ([]T, *string, error)
	page   []T
	item   T
	cursor string
	isLast bool
	err    error
}

// Next goes to the next item, and asks for the next page where it has to. It is false at the end,
// and after an error.
func (it *Iterator[T]) Next(ctx context.Context) bool {
	for it.err == nil && len(it.page) == 0 && !it.isLast {
		it.turn(ctx)
	}
	if it.err != nil || len(it.page) == 0 {
		return false
	}
	it.item, it.page = it.page[0], it.page[1:]
	return true
}

// Item is where the last Next went to.
func (it *Iterator[T]) Item() T {
	return it.item
}

// Err is why Next was false: nil at the end of the list, else an [*Error].
func (it *Iterator[T]) Err() error {
	return it.err
}

func (it *Iterator[T]) turn(ctx context.Context) {
	page, next, err := it.fetch(ctx, it.cursor)
	if err != nil {
		it.err = err
		return
	}
	it.page, it.isLast = page, next == nil || *next == ""
	switch {
	case it.isLast:
	case *next == it.cursor: // it would go on for ever
		it.page = nil
		it.err = &Error{
			route: it.from, Code: CodeUnexpectedAnswer, Detail: "the next page is the same one",
		}
	default:
		it.cursor = *next
	}
}
