// The Go client of OpenBao against a server: main ADDRESS TOKEN [CA]. Prints how many operations were tried; the first that fails ends it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"

	"github.com/openbao/openbao/api/v2"
)

var operations int

func ok[T any](value T, err error) T {
	operations++
	if err != nil {
		fail("%v", err)
	}
	return value
}

func done(err error) {
	ok(0, err)
}

func refused(err error, code int) {
	operations++
	var response *api.ResponseError
	if !errors.As(err, &response) || response.StatusCode != code {
		fail("%d was expected: %v", code, err)
	}
}

func same(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		fail("%v instead of %v", found, expected)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "operation %d: "+format+"\n", append([]any{operations}, values...)...)
	os.Exit(1)
}

func main() {
	config := api.DefaultConfig()
	config.Address = os.Args[1]
	if len(os.Args) > 3 {
		done(config.ConfigureTLS(&api.TLSConfig{CACert: os.Args[3]}))
	}
	client := ok(api.NewClient(config))
	client.SetToken(os.Args[2])
	system := client.Sys()
	ctx := context.Background()

	same(ok(system.Health()).Initialized, true)
	same(ok(system.SealStatus()).Sealed, false)
	same(ok(system.InitStatus()), true)
	same(ok(system.Leader()).HAEnabled, true)

	kv := client.KVv2("secret")
	same(ok(kv.Put(ctx, "go/a", map[string]any{"k": "v"})).VersionMetadata.Version, 1)
	same(ok(kv.Get(ctx, "go/a")).Data["k"], "v")
	same(ok(kv.Put(ctx, "go/a", map[string]any{"k": "w"}, api.WithCheckAndSet(1))).VersionMetadata.Version, 2)
	_, err := kv.Put(ctx, "go/a", map[string]any{}, api.WithCheckAndSet(1))
	refused(err, 400)
	ok(kv.Patch(ctx, "go/a", map[string]any{"x": "y"}))
	same(ok(kv.Get(ctx, "go/a")).Data["x"], "y")
	same(ok(kv.GetVersion(ctx, "go/a", 1)).Data["k"], "v")
	same(len(ok(kv.GetVersionsAsList(ctx, "go/a"))), 3)
	done(kv.Delete(ctx, "go/a"))
	deleted := ok(kv.Get(ctx, "go/a"))
	same(deleted.Data == nil, true)
	done(kv.Undelete(ctx, "go/a", []int{3}))
	ok(kv.Rollback(ctx, "go/a", 1))
	done(kv.DeleteVersions(ctx, "go/a", []int{1}))
	done(kv.Destroy(ctx, "go/a", []int{2}))
	done(kv.PutMetadata(ctx, "go/a", api.KVMetadataPutInput{MaxVersions: 5, CustomMetadata: map[string]any{"o": "me"}}))
	done(kv.PatchMetadata(ctx, "go/a", api.KVMetadataPatchInput{CustomMetadata: map[string]any{"p": "q"}}))
	metadata := ok(kv.GetMetadata(ctx, "go/a"))
	same(metadata.MaxVersions, 5)
	same(metadata.CustomMetadata, map[string]any{"o": "me", "p": "q"})
	same(ok(client.Logical().List("secret/metadata/go")).Data["keys"], []any{"a"})
	same(ok(client.Logical().List("secret/metadata/none")) == nil, true)
	same(ok(client.Logical().Read("secret/data/none")) == nil, true)
	done(kv.DeleteMetadata(ctx, "go/a"))
	_, err = kv.Get(ctx, "go/a")
	operations++
	same(errors.Is(err, api.ErrSecretNotFound), true)

	done(system.Mount("go1", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}))
	same(ok(system.ListMounts())["go1/"].Options["version"], "1")
	plain := client.KVv1("go1")
	done(plain.Put(ctx, "x/y", map[string]any{"a": "b"}))
	same(ok(plain.Get(ctx, "x/y")).Data["a"], "b")
	same(ok(client.Logical().List("go1/x")).Data["keys"], []any{"y"})
	done(plain.Delete(ctx, "x/y"))
	done(system.TuneMount("go1", api.MountConfigInput{DefaultLeaseTTL: "1h", MaxLeaseTTL: "2h"}))
	same(ok(system.MountConfig("go1")).DefaultLeaseTTL, 3600)
	done(system.Unmount("go1"))
	same(ok(system.ListAuth())["token/"].Type, "token")

	rules := "path \"secret/data/go/*\" { capabilities = [\"read\"] }"
	done(system.PutPolicy("go", rules))
	same(ok(system.GetPolicy("go")), rules)
	found := false
	for _, name := range ok(system.ListPolicies()) {
		found = found || name == "go"
	}
	same(found, true)
	same(ok(system.CapabilitiesSelf("sys/mounts")), []string{"root"})

	tokens := client.Auth().Token()
	secret := ok(tokens.Create(&api.TokenCreateRequest{Policies: []string{"go"}, TTL: "1h", DisplayName: "go"}))
	child := ok(client.Clone())
	child.SetToken(secret.Auth.ClientToken)
	same(ok(child.Auth().Token().LookupSelf()).Data["display_name"], "token-go")
	ok(child.Auth().Token().RenewSelf(1800))
	_, err = child.KVv2("secret").Put(ctx, "go/b", map[string]any{})
	refused(err, 403)
	same(ok(system.Capabilities(secret.Auth.ClientToken, "secret/data/go/a")), []string{"read"})
	ok(tokens.Lookup(secret.Auth.ClientToken))
	ok(tokens.LookupAccessor(secret.Auth.Accessor))
	ok(tokens.Renew(secret.Auth.ClientToken, 600))
	done(tokens.RevokeTree(secret.Auth.ClientToken))
	_, err = child.Auth().Token().LookupSelf()
	refused(err, 403)
	orphan := ok(tokens.CreateOrphan(&api.TokenCreateRequest{Policies: []string{"go"}}))
	done(tokens.RevokeAccessor(orphan.Auth.Accessor))
	done(system.DeletePolicy("go"))
	_, err = client.Logical().Read("transit/keys/none")
	operations++
	if err != nil {
		refused(err, 404)
	}
	fmt.Println("operations", operations)
}
