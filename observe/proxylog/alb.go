package proxylog

import (
	"bytes"
	"net/netip"
)

// The fields of an AWS Application Load Balancer's line by position, from
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
const (
	albType = iota
	albTime
	albName
	albClient // client:port
	albTarget
	albRequestTime
	albTargetTime
	albResponseTime
	albStatus // elb_status_code
	albTargetStatus
	albReceived
	albSent
	albRequest // "POST https://host:443/path HTTP/1.1"
	albFields  // so many at least
)

// alb reads a line of an AWS Application Load Balancer. Fields that AWS adds at
// the end are taken as they come.
func (p *Parser) alb(line []byte, h *Hit) Outcome {
	var fields [albFields]field
	i, n := 0, 0
	for ; n < albFields; n++ {
		if i >= len(line) || line[i] == ' ' {
			return NotUnderstood
		}
		f, ok := nextField(line, i)
		if !ok || f.quoted != (n == albRequest) {
			return NotUnderstood
		}
		fields[n], i = f, f.next
	}
	text := func(n int) []byte { return line[fields[n].from:fields[n].to] }
	if !isALBType(text(albType)) || len(text(albTime)) < isoLen {
		return NotUnderstood
	}
	at, timeOK := p.clock.parse(text(albTime))
	status, statusOK := statusOf(text(albStatus))
	if more := (extras{}); !more.read(line, i) || !timeOK || !statusOK {
		return NotUnderstood
	}
	op := request(text(albRequest))
	if op == NoOperation {
		return Other
	}
	h.reset(at, op, status)
	h.Peer = albPeer(text(albClient))
	h.Client = h.Peer
	return Call
}

func isALBType(b []byte) bool {
	switch string(b) {
	case "http", "https", "h2", "grpcs", "ws", "wss":
		return true
	}
	return false
}

// albPeer reads client:port, where an IPv6 address may have no brackets.
func albPeer(b []byte) netip.Addr {
	if colon := bytes.LastIndexByte(b, ':'); colon >= 0 {
		if a, ok := parseAddr(b[:colon]); ok && isPort(b[colon:]) {
			return a
		}
	}
	a, _ := parseAddr(b)
	return a
}

// statusOf reads a status of one to three digits, or "-" for none.
func statusOf(b []byte) (int, bool) {
	if len(b) == 1 && b[0] == '-' {
		return 0, true
	}
	n, ok := digits(b)
	return int(n), ok && len(b) <= 3
}
