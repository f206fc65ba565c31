// Package schema holds the published JSON Schemas of leastwise's output, for
// programs that read it and for the tests that hold the output to them. It has
// no behaviour and cannot fail.
package schema

import _ "embed" // for the schema files

var (
	//go:embed assessment.schema.json
	assessment string
	//go:embed configmgr.schema.json
	configMgr string
	//go:embed configmgr-output.schema.json
	configMgrOutput string
	//go:embed grants.schema.json
	grants string
	//go:embed plan.schema.json
	plan string
	//go:embed power.schema.json
	power string
	//go:embed reach.schema.json
	reach string
	//go:embed whatif.schema.json
	whatIf string
)

// Assessment is the JSON Schema (draft 2020-12) of an assessment.
func Assessment() string { return assessment }

// ConfigMgr is the JSON Schema of documents of Configuration Manager and of the
// declared files that people keep, which have the same form in YAML.
func ConfigMgr() string { return configMgr }

// ConfigMgrOutput is the JSON Schema of what the commands below configmgr print: each
// form is among its definitions under the name of its command.
func ConfigMgrOutput() string { return configMgrOutput }

// Plan is the JSON Schema of plan files.
func Plan() string { return plan }

// Grants is the JSON Schema of policy files of grants, which are YAML of that form.
func Grants() string { return grants }

// Power is the JSON Schema of who can gain something: the answers of who-can and
// explain. It refers to that of an assessment for places and ways, as the others do.
func Power() string { return power }

// Reach is the JSON Schema of what one principal can gain.
func Reach() string { return reach }

// WhatIf is the JSON Schema of what changes would bring about.
func WhatIf() string { return whatIf }
