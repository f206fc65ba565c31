package forest

type ldifTally struct{}

func (b *Builder) coverLDIF() {}
