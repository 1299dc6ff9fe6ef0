package sandbox

import (
	"time"

	"sfbroker/sandbox/entra"
	"sfbroker/sandbox/ias"
	"sfbroker/sandbox/successfactors"
)

// Stats is what the stand-ins counted since the start, and their present state.
type Stats struct {
	Entra          entra.Stats `json:"entra"`
	IAS            ias.Stats   `json:"ias"`
	SuccessFactors SystemStats `json:"successfactors"`
	Second         SystemStats `json:"second"`
	Faults         []string    `json:"faults"`
	ClockOffset    string      `json:"clock_offset"`
	Now            time.Time   `json:"now"`
}

// Stats returns the counts.
func (s *Sandbox) Stats() Stats {
	return Stats{
		Entra:          s.entra.Stats(),
		IAS:            s.ias.Stats(),
		SuccessFactors: systemStats(s.companies[0].system.Stats()),
		Second:         systemStats(s.companies[1].system.Stats()),
		Faults:         s.ActiveFaults(),
		ClockOffset:    s.ClockOffset().String(),
		Now:            s.Now().UTC(),
	}
}

// SystemStats is what one SuccessFactors company counted.
type SystemStats struct {
	Requests    int            `json:"requests"`
	ByStatus    map[int]int    `json:"by_status"`
	ByEntitySet map[string]int `json:"by_entity_set"`
	// SessionsOpened counts login sessions: one for each request without a cookie.
	SessionsOpened int `json:"sessions_opened"`
	// SessionViolations counts requests with the session cookie of another identity.
	SessionViolations int `json:"session_violations"`
}

func systemStats(s successfactors.Stats) SystemStats { return SystemStats(s) }
