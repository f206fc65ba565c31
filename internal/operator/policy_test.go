package operator_test

import (
	"testing"

	"github.com/leastwise/leastwise/internal/operator"
)

func TestDefaultPolicies(t *testing.T) {
	p, err := operator.ParsePolicies("default.cedar", []byte(operator.DefaultPolicies()))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.List()) != 8 || len(p.Groups()) != 0 {
		t.Errorf("%v; groups %v", p.List(), p.Groups())
	}
}
