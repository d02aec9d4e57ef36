// node-vault against a server: run.js ADDRESS TOKEN. Prints how many operations were tried; the first that fails ends it.
const assert = require('node:assert');

const [address, token] = process.argv.slice(2);
const vault = require('node-vault')({ apiVersion: 'v1', endpoint: address, token });
let operations = 0;

async function ok(promise) {
  operations += 1;
  return promise;
}

async function fails(promise, status) {
  operations += 1;
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.response.statusCode, status, error.message);
    return true;
  });
}

async function main() {
  assert.strictEqual((await ok(vault.initialized())).initialized, true);
  assert.strictEqual((await ok(vault.status())).sealed, false);
  assert.strictEqual((await ok(vault.health())).initialized, true);
  assert.ok((await ok(vault.leader())).ha_enabled);

  // Versioned secrets, by path.
  const written = await ok(vault.write('secret/data/node/a', { data: { user: 'u', n: 1.25 } }));
  assert.strictEqual(written.data.version, 1);
  assert.deepStrictEqual((await ok(vault.read('secret/data/node/a'))).data.data, { user: 'u', n: 1.25 });
  await ok(vault.write('secret/data/node/a', { data: { user: 'v' }, options: { cas: 1 } }));
  await fails(vault.write('secret/data/node/a', { data: {}, options: { cas: 1 } }), 400);
  assert.deepStrictEqual((await ok(vault.list('secret/metadata/node'))).data.keys, ['a']);
  await fails(vault.list('secret/metadata/none'), 404);
  await ok(vault.delete('secret/data/node/a'));
  await fails(vault.read('secret/data/node/a'), 404);
  await ok(vault.write('secret/undelete/node/a', { versions: [2] }));
  assert.strictEqual((await ok(vault.read('secret/data/node/a'))).data.data.user, 'v');
  await ok(vault.write('secret/destroy/node/a', { versions: [1] }));
  await ok(vault.delete('secret/metadata/node/a'));

  // Mounts.
  await ok(vault.mount({ mount_point: 'node1', type: 'kv', description: 'by node' }));
  assert.ok('node1/' in (await ok(vault.mounts())).data);
  await ok(vault.write('node1/x', { value: 'plain' }));
  assert.strictEqual((await ok(vault.read('node1/x'))).data.value, 'plain');
  assert.deepStrictEqual((await ok(vault.list('node1'))).data.keys, ['x']);
  await ok(vault.delete('node1/x'));
  await ok(vault.unmount({ mount_point: 'node1' }));
  assert.ok('token/' in (await ok(vault.auths())).data);

  // Policies.
  const rules = 'path "secret/data/node/*" { capabilities = ["read"] }';
  await ok(vault.addPolicy({ name: 'node', rules }));
  assert.strictEqual((await ok(vault.getPolicy({ name: 'node' }))).rules, rules);
  assert.ok((await ok(vault.policies())).policies.includes('node'));

  // Tokens.
  const made = await ok(vault.tokenCreate({ policies: ['node'], ttl: '1h', display_name: 'node' }));
  // This client goes on with the token that it made.
  vault.token = token;
  const child = require('node-vault')({ apiVersion: 'v1', endpoint: address, token: made.auth.client_token });
  assert.strictEqual((await ok(child.tokenLookupSelf())).data.display_name, 'token-node');
  await ok(child.tokenRenewSelf({ increment: '30m' }));
  await fails(child.write('secret/data/node/b', { data: {} }), 403);
  assert.ok((await ok(vault.tokenAccessors())).data.keys.includes(made.auth.accessor));
  await ok(vault.tokenLookupAccessor({ accessor: made.auth.accessor }));
  await ok(vault.tokenLookup({ token: made.auth.client_token }));
  await ok(vault.tokenRevoke({ token: made.auth.client_token }));
  await fails(child.tokenLookupSelf(), 403);
  const orphan = await ok(vault.tokenCreateOrphan({ policies: ['node'] }));
  vault.token = token;
  await ok(vault.tokenRevokeAccessor({ accessor: orphan.auth.accessor }));
  await ok(vault.removePolicy({ name: 'node' }));
}

main().then(
  () => console.log(`operations ${operations}`),
  (error) => {
    console.error(`operation ${operations}:`, error);
    process.exit(1);
  },
);
