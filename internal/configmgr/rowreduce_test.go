package configmgr

import (
	"encoding/json"
	"testing"
)

// A reader may reduce a row before the builder does: doing it twice changes nothing,
// not even that there is a PXE password.
func TestReduceTwice(t *testing.T) {
	for class, text := range map[string]string{
		sciSysResUse: roleRows,
		smsRole:      `[{"RoleID":"SMS0001R","RoleName":"x","IsBuiltIn":true,"Operations":[{"ObjectTypeID":6,"GrantedOperations":7,"More":1}]}]`,
		smsAdmin:     `[{"LogonName":"CONTOSO\\a","Roles":["SMS0001R"],"Permissions":[{"RoleID":"SMS0001R","CategoryID":"SMS00ALL","Other":2}]}]`,
	} {
		for _, row := range rowsOf(t, text) {
			once := Reduce(class, row)
			first, err := json.Marshal(once)
			if err != nil {
				t.Fatal(err)
			}
			second, err := json.Marshal(Reduce(class, once))
			if err != nil || string(first) != string(second) {
				t.Errorf("%s: %s, reduced again %s, %v", class, first, second, err)
			}
		}
	}
}
