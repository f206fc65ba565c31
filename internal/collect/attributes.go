package collect

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
)

// always are the attributes that every object is asked for beside those of the
// snapshot's table.
var always = []string{"objectClass", "objectGUID", "objectSid", "nTSecurityDescriptor"}

// schemaOnly are the attributes that only objects of the schema partition have.
var schemaOnly = []forest.Attr{
	forest.AttributeSecurityGUID, forest.AttributeSyntax, forest.AuxiliaryClass, forest.DefaultSecurityDescriptor,
	forest.IsDefunct, forest.LDAPDisplayName, forest.LinkID, forest.MayContain, forest.MustContain,
	forest.ObjectClassCategory, forest.OMSyntax, forest.PossSuperiors, forest.SchemaIDGUID, forest.SearchFlags,
	forest.SubClassOf, forest.SystemAuxiliaryClass, forest.SystemMayContain, forest.SystemMustContain,
	forest.SystemOnly, forest.SystemPossSuperiors,
}

// schemaToo are those of schemaOnly's neighbours that the schema partition has as well.
var schemaToo = []forest.Attr{
	forest.InstanceType, forest.IsCriticalSystemObject, forest.ObjectVersion, forest.SystemFlags,
	forest.WhenChanged, forest.WhenCreated, forest.FSMORoleOwner,
}

// schemaAttributes lists what the schema partition is asked for. attributeID is
// used to read replication metadata and not kept.
func schemaAttributes() []string {
	out := append(slices.Clone(always), "attributeID", "msDS-IntId")
	for _, a := range append(slices.Clone(schemaOnly), schemaToo...) {
		out = append(out, a.String())
	}
	return out
}

// objectAttributes lists what the other partitions are asked for.
func objectAttributes() []string {
	out := append(slices.Clone(always), "replPropertyMetaData")
	for _, a := range forest.Attrs() {
		if !slices.Contains(schemaOnly, a) {
			out = append(out, a.String())
		}
	}
	return out
}

// Attributes lists what a scan asks every object for, in the schema partition and
// in the others, so that other tools can be asked for the same.
func Attributes() (schema, objects []string) { return schemaAttributes(), objectAttributes() }
