package adminservice

import (
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// BenchmarkDecode decodes a page of 500 site systems with 40 properties each.
func BenchmarkDecode(b *testing.B) {
	prop := `{"PropertyName":"Name of a property","Value":0,"Value1":"something that is not wanted","Value2":"CONTOSO\\user"},`
	one := `{"NetworkOSPath":"\\\\CM1.contoso.test","RoleName":"SMS Site System","SiteCode":"P01","NALPath":"` + strings.Repeat("x", 100) + `","Props":[` + strings.Repeat(prop, 39) + strings.TrimSuffix(prop, ",") + `]},`
	page := []byte(`{"value":[` + strings.Repeat(one, 499) + strings.TrimSuffix(one, ",") + `]}`)
	columns, _ := configmgr.Columns("SMS_SCI_SysResUse")
	q := query{class: "SMS_SCI_SysResUse", columns: columns, all: true}
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		if p, err := decodePage(page, q.keep, false); err != nil || len(p.rows) != 500 {
			b.Fatal(err)
		}
	}
}
