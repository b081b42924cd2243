package sdk

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

func wrote(position int, epoch string) http.HandlerFunc {
	return answer(204, "", "Log-Position", fmt.Sprint(position), "Log-Epoch", epoch)
}

func TestThePositionIsThatOfTheLastOfManyWrites(t *testing.T) {
	const count = 64
	var answers []http.HandlerFunc
	for place := 0; place < count; place++ {
		answers = append(answers, wrote(1+place*37%count, "a")) // each once, in no order
	}
	calls := start(t, answers...)
	mustBe(t, "the first position", calls.Position(), int64(0))
	var writing sync.WaitGroup
	for place := 0; place < count; place++ {
		writing.Add(1)
		go func() {
			defer writing.Done()
			before := calls.Position()
			if err := calls.Customers.Delete(context.Background(), "cust_1"); err != nil {
				t.Error(err)
			}
			if calls.Position() < before {
				t.Error("the position went back")
			}
		}()
	}
	writing.Wait()
	mustBe(t, "the position", calls.Position(), int64(count))
}

func TestThePositionIsOfTheLogThatAnswers(t *testing.T) {
	calls := start(t, wrote(90, "a"), wrote(40, "b"), wrote(30, "b"), answer(204, ""),
		wrote(41, "b"), answer(204, "", "Log-Position", "x"))
	for _, want := range []int64{90, 40, 40, 40, 41, 41} {
		must(t, calls.Customers.Delete(context.Background(), "cust_1"))
		mustBe(t, "the position", calls.Position(), want)
	}
}

func TestReadsAndRefusalsAreNoWrites(t *testing.T) {
	calls := start(t, answer(200, `{}`, "Log-Position", "9"),
		refuse(409, "email_taken", "Log-Position", "9"))
	_, err := calls.get()
	must(t, err)
	_, err = calls.Customers.Create(context.Background(), &CustomerInput{})
	mustBe(t, "the status", failureOf(t, err).Status, 409)
	mustBe(t, "the position", calls.Position(), int64(0))
}
