package odata

import (
	"slices"
	"strings"
)

// maxShape bounds a shape; a longer list of expansions is cut at an item.
const maxShape = 512

func (a *analysis) shape() string {
	var b strings.Builder
	switch {
	case a.request.Service:
		b.WriteByte('/')
	case a.lists:
		b.WriteString("(list)/")
	case a.base != "":
		b.WriteString(a.base)
		if a.request.HasKey {
			b.WriteString("(key)")
		}
	}
	switch {
	case a.request.Metadata:
		if a.base != "" {
			b.WriteByte('/')
		}
		b.WriteString("$metadata")
	case a.request.Count:
		b.WriteString("/$count")
	case a.request.Value:
		b.WriteString("/$value")
	}
	separator := byte('?')
	for o := optionExpand; o < optionCount; o++ {
		if !a.seen[o] {
			continue
		}
		b.WriteByte(separator)
		separator = '&'
		b.WriteString(o.String())
		if o == optionExpand && len(a.expanded) > 0 {
			writeItems(&b, a.expanded)
		}
	}
	return b.String()
}

func writeItems(b *strings.Builder, items []string) {
	slices.Sort(items)
	items = slices.Compact(items)
	b.WriteByte('=')
	for i, item := range items {
		if b.Len()+len(item) > maxShape {
			b.WriteString("...")
			return
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(item)
	}
}
