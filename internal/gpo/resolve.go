package gpo

// undefined is the setting of which no policy of the scope can say anything.
func (r *Result) undefined(name string) Setting {
	return Setting{Name: name, State: NotDefined, Outcomes: []Outcome{{Readable: true}}}
}
