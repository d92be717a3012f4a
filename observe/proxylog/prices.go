package proxylog

import (
	"bytes"
	"strconv"
)

// Prices are what calls cost, by model. Nil knows no price.
type Prices map[string]Price

// Price is of one model, in US dollars for a million tokens.
type Price struct {
	Input  float64
	Output float64
}

const million = 1_000_000

// Cost is what a billed call costs in US dollars: what its line says, else by
// its model and tokens. It is not known where the line has no tokens or the
// model no price: cost is never guessed.
func (p Prices) Cost(h *Hit) (usd float64, known bool) {
	if h.CostKnown {
		return h.CostUSD, true
	}
	if p == nil || len(h.Model) == 0 || h.InputTokens == 0 && h.OutputTokens == 0 {
		return 0, false
	}
	price, ok := p[string(h.Model)]
	if !ok {
		// Proxies log a model with its vendor or without.
		price, ok = p[string(h.Model[bytes.LastIndexByte(h.Model, '/')+1:])]
	}
	if !ok {
		return 0, false
	}
	return (float64(h.InputTokens)*price.Input + float64(h.OutputTokens)*price.Output) / million, true
}

// dearest is more than any call costs: what is above it is no cost in dollars.
const dearest = 1e6

// dollars reads a cost as JSON writes numbers, in a string or not; false where
// it is none. It takes no sign: nobody is paid for a call.
func dollars(b []byte) (usd float64, ok bool) {
	const longest = 32 // so that nothing is allocated
	if len(b) == 0 || len(b) > longest || b[0] == '-' || numberEnd(b, 0) != len(b) {
		return 0, false
	}
	usd, err := strconv.ParseFloat(string(b), 64)
	if err != nil || usd > dearest {
		return 0, false
	}
	return usd, true
}
