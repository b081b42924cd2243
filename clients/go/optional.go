package sdk

// Optional is absent, null or a value. The zero Optional is absent.
type Optional[T any] struct {
	value  T
	isSet  bool
	isNull bool
}

// Value is an Optional that has a value.
func Value[T any](value T) Optional[T] {
	return Optional[T]{value: value, isSet: true}
}

// Null is an Optional that clears: Null[string]().
func Null[T any]() Optional[T] {
	return Optional[T]{isSet: true, isNull: true}
}

// put adds a field to a merge patch, unless it is absent.
func put[T any](patch map[string]any, name string, field Optional[T]) {
	switch {
	case !field.isSet:
	case field.isNull:
		patch[name] = nil
	default:
		patch[name] = field.value
	}
}
