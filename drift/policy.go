package drift

import (
	"slices"
	"strings"
	"time"
)

// Owner says whose a credential in a container is.
type Owner string

// The owners. The zero value accuses no one.
const (
	OwnerUnknown  Owner = "unknown"
	OwnerCustomer Owner = "customer"
	OwnerPlatform Owner = "platform"
)

// Deployments: they decide the mode where nothing can be derived.
const (
	SaaS       = "saas"        // has a proxy: platform_managed
	SelfHosted = "self_hosted" // has none: byok
)

// Policy is what the operator decides, as far as decisions here need it.
type Policy struct {
	GlobalSecrets Owner      // whose the credentials in global_secrets are: OwnerPlatform or OwnerCustomer
	StripList     []string   // names the platform removes for platform_managed
	Proxy         []Endpoint // where the platform's proxy is
	StaleAfter    time.Duration
}

// DefaultStripList is what the platform removes from the environment of a
// platform_managed workspace, as its server has it.
var DefaultStripList = []string{
	"AI_GATEWAY_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ARCEEAI_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN",
	"CODEX_AUTH_JSON", "DASHSCOPE_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY", "GLM_API_KEY", "HERMES_CUSTOM_API_KEY",
	"HERMES_CUSTOM_BASE_URL", "HF_TOKEN", "KIMI_API_KEY", "KIMI_CN_API_KEY", "MINIMAX_API_KEY", "MINIMAX_CN_API_KEY",
	"NOUS_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENROUTER_API_KEY", "XAI_API_KEY", "ZAI_API_KEY",
}

// IsRoute tells whether a name is an address rather than a credential, though
// it stands in a strip list or an auth_env.
func IsRoute(name string) bool { return strings.HasSuffix(name, "_BASE_URL") }

func (p *Policy) strips(name string) bool { return slices.Contains(p.StripList, name) }
