package oauthclient

import (
	"fmt"
	"os"
	"strings"
)

// thisProcess identifies this process for a reservation. On systems without
// /proc, start and boot are empty and the holder's timeout decides.
func thisProcess() holder {
	host, _ := os.Hostname()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	namespace, _ := os.Readlink("/proc/self/ns/pid")
	pid := os.Getpid()
	return holder{
		PID:     pid,
		Start:   processStart(pid),
		Machine: hashFields(host, strings.TrimSpace(string(boot)), namespace)[:16],
	}
}

// processStart returns the start time of a process in clock ticks since boot,
// field 22 of proc_pid_stat(5), or "" where that cannot be read.
func processStart(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is the program's name and may hold spaces and parentheses.
	stat := string(data)
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const startTime = 22 - 3
	if len(fields) <= startTime {
		return ""
	}
	return fields[startTime]
}
