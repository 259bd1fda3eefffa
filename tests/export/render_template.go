// Renders chats with a template as Ollama does (template/template.go: Execute, collate): the system texts and
// all messages are values of their own, and tools and arguments print as JSON.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type asJSON struct{ json.RawMessage }

func (value asJSON) String() string {
	var text bytes.Buffer
	if err := json.Compact(&text, value.RawMessage); err != nil {
		panic(err)
	}
	return text.String()
}

type call struct {
	Function struct {
		Name      string
		Arguments asJSON
	}
}

type message struct {
	Role, Content string
	ToolCalls     []call `json:"tool_calls"`
}

func main() {
	var asked struct {
		Template string
		Chats    []struct {
			Messages []message
			Tools    []asJSON
		}
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	parsed := template.Must(template.New("").Option("missingkey=zero").Parse(asked.Template))
	texts := []string{}
	for _, chat := range asked.Chats {
		var system []string
		for _, said := range chat.Messages {
			if said.Role == "system" {
				system = append(system, said.Content)
			}
		}
		var text strings.Builder
		values := map[string]any{"System": strings.Join(system, "\n\n"), "Messages": chat.Messages, "Tools": chat.Tools}
		if err := parsed.Execute(&text, values); err != nil {
			panic(err)
		}
		texts = append(texts, text.String())
	}
	if err := json.NewEncoder(os.Stdout).Encode(texts); err != nil {
		panic(err)
	}
}
