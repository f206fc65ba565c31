package forest

import "github.com/leastwise/leastwise/internal/secdesc"

// A Domain is one domain of the forest, from its cross-reference and its head.
type Domain struct {
	Head    ID          // the domain's root object; None if the domain was not read
	DN      string      // DC=contoso,DC=test
	DNS     string      // contoso.test
	NetBIOS string      // CONTOSO
	SID     secdesc.SID // S-1-5-21-…; zero if the domain was not read
	Root    bool        // forest root domain
}
