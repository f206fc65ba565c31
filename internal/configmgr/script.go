package configmgr

import (
	_ "embed" // for the template
	"fmt"
	"strings"
	"text/template"
)

//go:embed script.ps1.tmpl
var scriptText string

// ExportScript returns the PowerShell script that writes what is needed of a site into
// one file, for Import. What it selects comes from the same tables as what readers
// keep, so that it never asks for more.
func ExportScript() string {
	t := template.Must(template.New("script").Parse(scriptText))
	var out strings.Builder
	if err := t.Execute(&out, scriptData()); err != nil {
		panic(fmt.Sprintf("configmgr: export script: %v", err)) // the template is a constant
	}
	return strings.ReplaceAll(out.String(), "\n", "\r\n")
}

// psProperty is an embedded property as the script names it.
type psProperty struct{ Name, Slots string }

// psProperties are the properties of a class, or of a role of one.
type psProperties struct {
	Key  string
	List []psProperty
}

// psNames is a list of names under a key.
type psNames struct{ Key, Names string }

// psRead is one call of Read-Class.
type psRead struct {
	Class, Columns, Filter string
	Whole, Optional        bool
}

func scriptData() map[string]any {
	var reads []psRead
	var properties []psProperties
	var lists []psNames
	for _, a := range asks() {
		switch {
		case a.Synthetic():
			continue
		case a.Class == sciSysResUse:
			for _, role := range rolesWithProperties() {
				properties = append(properties, psProperties{a.Class + "|" + role, psProps(keptProperties(a.Class, role))})
			}
		case len(keptProperties(a.Class, "")) > 0:
			properties = append(properties, psProperties{a.Class, psProps(keptProperties(a.Class, ""))})
		}
		if l := keptLists(a.Class); len(l) > 0 {
			lists = append(lists, psNames{a.Class, psList(l)})
		}
		reads = append(reads, psRead{a.Class, psList(queried(a)), strings.ReplaceAll(a.Filter, " eq ", " = "), a.Whole, a.Optional})
	}
	step, _ := askFor(smsStep)
	variable, _ := askFor(smsVariable)
	return map[string]any{
		"Version": bundleVersion, "Properties": properties, "Lists": lists, "Reads": reads, "Step": step, "Variable": variable,
		"Fields": []psNames{
			{"Permissions", psList(permissionFields())},
			{"Operations", psList(operationFields())},
			{"AgentConfigurations", psList(clientColumns())},
		},
		"StepClasses": psList(stepClasses()),
		"StepColumns": psList(step.Columns[3:]), // after PackageID, TaskSequenceName and StepClass
	}
}

// queried returns the columns that the class itself has: those of client settings that
// only a cmdlet prints are not in its class.
func queried(a Ask) []string {
	if a.Class == smsClient {
		return []string{"SettingsID", "Name", "Priority", "AgentConfigurations"}
	}
	return a.Columns
}

func rolesWithProperties() []string {
	return []string{
		roleSiteSystem, roleManagementPoint, roleSoftwareUpdate, roleReporting, roleMulticast, roleEnrollment, roleCertificate, roleDistribution, roleSQL,
	}
}

// stepClasses lists the classes of steps that name an account.
func stepClasses() []string {
	return []string{
		"SMS_TaskSequence_CaptureSystemImageAction", "SMS_TaskSequence_JoinDomainWorkgroupAction", "SMS_TaskSequence_ApplyNetworkSettingsAction",
		"SMS_TaskSequence_ConnectNetworkFolderAction", "SMS_TaskSequence_RunCommandLineAction", "SMS_TaskSequence_RunPowerShellScriptAction",
	}
}

func psProps(list []keptProperty) []psProperty {
	out := make([]psProperty, 0, len(list))
	for _, k := range list {
		out = append(out, psProperty{k.name, psList(k.slots)})
	}
	return out
}

// psList returns texts as elements of a PowerShell list. None of ours has a quotation
// mark; if one had, it would be doubled.
func psList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return strings.Join(quoted, ", ")
}
