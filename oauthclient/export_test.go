package oauthclient

import "time"

// UsableUntil is the end of the held token's usable life.
func (k *Keeper) UsableUntil() time.Time {
	h := k.current.Load()
	if h == nil {
		return time.Time{}
	}
	return time.Unix(0, h.to)
}

// LooksUpTo reports whether the background loop has seen this time.
func (k *Keeper) LooksUpTo(t time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.lastLook.Before(t)
}
