// go-containerregistry's access to a daemon, which crane's library, ko and others use: does every verb and prints a line of JSON for each.
//
// usage: ggcr FACTS, where FACTS is the JSON that the test hands over.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/daemon"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var facts struct {
	Socket, Plain, Locked, User, Password, Space string
}

var docker *client.Client

func own(rest string) string {
	return facts.Plain + "/" + facts.Space + "/" + rest
}

func locked() string {
	return facts.Locked + "/" + facts.Space + "/own:1"
}

// A reference; names are ours, so that a bad one is a mistake here.
func reference(text string) name.Reference {
	parsed, err := name.ParseReference(text, name.Insecure)
	if err != nil {
		panic(err)
	}
	return parsed
}

func tag(text string) name.Tag {
	return reference(text).(name.Tag)
}

func image(text string) (v1.Image, error) {
	return daemon.Image(reference(text), daemon.WithClient(docker))
}

// Has the daemon take an image under a name.
func write(text string, image v1.Image) error {
	told, err := daemon.Write(tag(text), image, daemon.WithClient(docker))
	if err == nil && strings.Contains(told, "errorDetail") {
		err = errors.New(told)
	}
	return err
}

// An image that no other is like, in the daemon under this name.
func made(text string) (v1.Image, error) {
	image, err := random.Image(1000, 3)
	if err != nil {
		return nil, err
	}
	return image, write(text, image)
}

// Fails unless both are the same image.
func same(found, wanted v1.Image) error {
	first, err := found.ConfigName()
	if err != nil {
		return err
	}
	second, err := wanted.ConfigName()
	if err == nil && first != second {
		err = fmt.Errorf("the image %s instead of %s", first, second)
	}
	return err
}

// Fails unless the daemon has this image under this name.
func has(text string, wanted v1.Image) error {
	found, err := image(text)
	if err != nil {
		return err
	}
	return same(found, wanted)
}

func fromRegistry(source, target string, options ...remote.Option) error {
	image, err := remote.Image(reference(source), options...)
	if err != nil {
		return err
	}
	if err := write(target, image); err != nil {
		return err
	}
	return has(target, image)
}

func toRegistry(source, target string, options ...remote.Option) error {
	image, err := image(source)
	if err != nil {
		return err
	}
	if err := remote.Write(reference(target), image, options...); err != nil {
		return err
	}
	pushed, err := remote.Image(reference(target), options...)
	if err != nil {
		return err
	}
	if err := validate.Image(pushed); err != nil {
		return err
	}
	return same(pushed, image)
}

func account() remote.Option {
	return remote.WithAuth(&authn.Basic{Username: facts.User, Password: facts.Password})
}

func inspect() error {
	wanted, err := made("seen:1")
	if err != nil {
		return err
	}
	found, err := image("seen:1")
	if err != nil {
		return err
	}
	config, err := found.ConfigFile()
	if err != nil {
		return err
	}
	if len(config.RootFS.DiffIDs) != 3 {
		return fmt.Errorf("%d layers", len(config.RootFS.DiffIDs))
	}
	return same(found, wanted)
}

func inspectNothing() error {
	_, err := image("nothing")
	if err == nil || !client.IsErrNotFound(err) || !strings.Contains(err.Error(), "No such image") {
		return fmt.Errorf("it says %v", err)
	}
	return nil
}

func history() error {
	base := facts.Plain + "/seed/base:1"
	if err := fromRegistry(base, base); err != nil {
		return err
	}
	found, err := image(base)
	if err != nil {
		return err
	}
	config, err := found.ConfigFile()
	if err != nil {
		return err
	}
	layers := 0
	for _, step := range config.History {
		if !step.EmptyLayer {
			layers++
		}
	}
	if len(config.History) <= layers || layers != len(config.RootFS.DiffIDs) {
		return fmt.Errorf("%d steps, %d of them layers, of which there are %d", len(config.History), layers, len(config.RootFS.DiffIDs))
	}
	return nil
}

func save() error {
	if _, err := made("saved:1"); err != nil {
		return err
	}
	for _, option := range []daemon.Option{daemon.WithBufferedOpener(), daemon.WithUnbufferedOpener()} {
		found, err := daemon.Image(reference("saved:1"), daemon.WithClient(docker), option)
		if err != nil {
			return err
		}
		// the config is put together from other answers, in which a history has no authors
		layers, err := found.Layers()
		if err != nil {
			return err
		}
		if len(layers) != 3 {
			return fmt.Errorf("%d layers", len(layers))
		}
		for _, layer := range layers {
			if err := validate.Layer(layer); err != nil {
				return err
			}
		}
	}
	return nil
}

func load() error {
	wanted, err := made("loaded:1")
	if err != nil {
		return err
	}
	// what is there under its ID is only given a name
	if err := write("loaded:2", wanted); err != nil {
		return err
	}
	if err := has("loaded:2", wanted); err != nil {
		return err
	}
	return has("index.docker.io/library/loaded:1", wanted)
}

func named() error {
	wanted, err := made("tagged:1")
	if err != nil {
		return err
	}
	if err := daemon.Tag(tag("tagged:1"), tag("localhost:1/some/where:2"), daemon.WithClient(docker)); err != nil {
		return err
	}
	return has("localhost:1/some/where:2", wanted)
}

func pullByDigest() error {
	source := facts.Plain + "/seed/base"
	described, err := remote.Head(reference(source + ":2"))
	if err != nil {
		return err
	}
	return fromRegistry(source+"@"+described.Digest.String(), "pulled:2")
}

func pullPlatforms() error {
	for _, architecture := range []string{"arm64", "amd64"} {
		platform := remote.WithPlatform(v1.Platform{OS: "linux", Architecture: architecture})
		if err := fromRegistry(facts.Plain+"/seed/many:1", "many:1", platform); err != nil {
			return err
		}
		found, err := image("many:1")
		if err != nil {
			return err
		}
		config, err := found.ConfigFile()
		if err != nil {
			return err
		}
		if config.Architecture != architecture {
			return fmt.Errorf("it is for %s", config.Architecture)
		}
	}
	return nil
}

func pullNothing() error {
	if err := fromRegistry(own("nothing:1"), "pulled:3"); err == nil {
		return errors.New("it succeeded")
	}
	if _, err := image("pulled:3"); err == nil {
		return errors.New("there is something")
	}
	return nil
}

func push() error {
	if _, err := made("pushed:1"); err != nil {
		return err
	}
	return toRegistry("pushed:1", own("pushed:1"))
}

func pushRefused() error {
	if _, err := made("own:1"); err != nil {
		return err
	}
	if err := toRegistry("own:1", locked()); err == nil || !strings.Contains(err.Error(), "401") {
		return fmt.Errorf("it says %v", err)
	}
	return nil
}

func pushWithPassword() error {
	if err := toRegistry("own:1", locked(), account()); err != nil {
		return err
	}
	return fromRegistry(locked(), "own:2", account())
}

func pull() error {
	return fromRegistry(facts.Plain+"/seed/base:1", "pulled:1")
}

var verbs = []struct {
	verb string
	work func() error
}{
	{"inspect", inspect},
	{"inspect what is not there", inspectNothing},
	{"history", history},
	{"save", save},
	{"load", load},
	{"tag", named},
	{"pull", pull},
	{"pull by digest", pullByDigest},
	{"pull for another platform", pullPlatforms},
	{"pull what is not there", pullNothing},
	{"push", push},
	{"push without the password", pushRefused},
	{"push and pull with a password", pushWithPassword},
}

func main() {
	if err := json.Unmarshal([]byte(os.Args[len(os.Args)-1]), &facts); err != nil {
		panic(err)
	}
	var err error
	docker, err = client.NewClientWithOpts(client.WithHost("unix://"+facts.Socket), client.WithAPIVersionNegotiation())
	if err != nil {
		panic(err)
	}
	lines := json.NewEncoder(os.Stdout)
	for _, one := range verbs {
		outcome := map[string]any{"verb": one.verb, "passed": true}
		if err := one.work(); err != nil {
			outcome = map[string]any{"verb": one.verb, "failed": err.Error()}
		}
		if err := lines.Encode(outcome); err != nil {
			panic(err)
		}
	}
}
