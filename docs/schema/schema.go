// Package schema holds the published JSON Schemas of leastwise's output, for
// programs that read it and for the tests that hold the output to them. It has
// no behaviour and cannot fail.
package schema

import _ "embed" // for the schema files

//go:embed assessment.schema.json
var assessment string

// Assessment is the JSON Schema (draft 2020-12) of an assessment.
func Assessment() string { return assessment }
