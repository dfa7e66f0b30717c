// dockerode: does every verb and prints a line of JSON for each.
//
// usage: check.cjs FACTS, where FACTS is the JSON that the test hands over; modules are found by NODE_PATH.

const assert = require('node:assert');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const Docker = require('dockerode');

const facts = JSON.parse(process.argv.at(-1));
const docker = new Docker({ socketPath: facts.socket });
const base = `${facts.plain}/seed/base`;
const account = { username: facts.user, password: facts.password, serveraddress: facts.locked };
const locked = `${facts.locked}/${facts.space}/own:1`;

const file = (name) => path.join(facts.files, name);
const own = (rest) => `${facts.plain}/${facts.space}/${rest}`;
const inspect = (name) => docker.getImage(name).inspect();
const remove = (name, options) => docker.getImage(name).remove(options);
const has = (whole, part) =>
  assert.ok(whole.includes(part), `${JSON.stringify(part)} is not in ${JSON.stringify(whole)}`);

// all that a stream of progress told; an error in it is thrown
const followed = (stream) =>
  new Promise((done, fail) =>
    docker.modem.followProgress(stream, (error, lines) => {
      const failed = error ? undefined : lines.find((line) => line.error);
      if (error || failed) fail(Object.assign(error ?? new Error(failed.error), { lines }));
      else done(lines);
    }),
  );

// all bytes of a stream
const bytes = async (stream) => Buffer.concat(await stream.toArray());

// what a call fails with
const failure = async (work, status, words) => {
  const error = await Promise.resolve(work).then(
    () => assert.fail('it succeeded'),
    (error) => error,
  );
  if (status !== undefined) assert.strictEqual(error.statusCode, status, error.message);
  has(error.message, words);
  return error;
};

const build = async (context, options = {}) =>
  followed(await docker.buildImage({ context: file(context), src: fs.readdirSync(file(context)) }, options));
const text = (lines) => lines.map((line) => line.stream ?? '').join('');
// the ID of what was built last
const built = (lines) => lines.findLast((line) => line.aux).aux.ID;
// a small image, its label telling of its name
const small = async (name) => built(await build('small', { t: name, labels: { for: name } }));
// an image that no other is like
const imported = async (name) => {
  const options = { repo: name, changes: [`LABEL for=${name}`] };
  return (await followed(await docker.importImage(file('root.tar'), options))).at(-1).status;
};
const listed = (filters) => docker.listImages({ filters });
const ids = async (filters) => (await listed(filters)).map((image) => image.Id);

// waits until the build that would take so long runs, or until it does not
const sleep = async (runs) => {
  const wanted = `sleep\0${facts.seconds}\0`;
  const sleeps = (id) => {
    try {
      return fs.readFileSync(`/proc/${id}/cmdline`, 'utf8') === wanted;
    } catch {
      return false;
    }
  };
  for (let tries = 0; tries < 3000; tries += 1) {
    if (fs.readdirSync('/proc').some(sleeps) === runs) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.fail(`it sleeps: ${!runs}`);
};

const verbs = {
  async ping() {
    assert.strictEqual((await docker.ping()).toString(), 'OK');
  },

  async version() {
    const told = await docker.version();
    assert.deepStrictEqual([told.ApiVersion, told.MinAPIVersion, told.Os], ['1.51', '1.22', 'linux']);
    const older = new Docker({ socketPath: facts.socket, version: 'v1.41' });
    assert.strictEqual((await older.version()).ApiVersion, '1.51');
  },

  async info() {
    const told = await docker.info();
    const count = new Set((await docker.listImages({ all: true })).map((image) => image.Id)).size;
    assert.deepStrictEqual([told.Images, told.OSType], [count, 'linux']);
  },

  async 'log in'() {
    assert.strictEqual((await docker.checkAuth(account)).Status, 'Login Succeeded');
  },

  async 'log in with a wrong password'() {
    // what it does not know by its status it calls unexpected
    await failure(docker.checkAuth({ ...account, password: 'wrong' }), undefined, 'unauthorized');
  },

  async build() {
    const lines = await build('context', { t: 'built:1' });
    const told = text(lines);
    for (const words of ['Step 1/', 'the word is none', 'Successfully tagged built:1']) has(told, words);
    const image = await inspect('built:1');
    assert.strictEqual(image.Id, built(lines));
    assert.deepStrictEqual(image.Config.Env.slice(-2), ['BASE=yes', 'A=b']);
    assert.deepStrictEqual([image.Config.Entrypoint, image.Config.Cmd], [['sh', '-c'], ['true']]);
  },

  async 'build with arguments and labels'() {
    const options = { t: 'built:2', buildargs: { WORD: 'spoken' }, labels: { a: 'b', c: '' } };
    has(text(await build('context', options)), 'the word is spoken');
    const labels = (await inspect('built:2')).Config.Labels;
    assert.deepStrictEqual(labels, { a: 'b', c: '', made: 'here', number: '1' });
  },

  async 'build up to a stage'() {
    await build('context', { t: 'built:first', target: 'first' });
    assert.deepStrictEqual((await inspect('built:first')).Config.Cmd, ['sh']);
    await failure(build('context', { target: 'nowhere' }), undefined, 'nowhere');
  },

  async 'build quietly'() {
    const lines = await build('context', { q: true });
    assert.deepStrictEqual(
      lines.map((line) => line.stream.trim()),
      [(await inspect('built:1')).Id],
    );
  },

  async 'build with nothing but a Dockerfile'() {
    fs.mkdirSync(path.join(facts.folder, 'lone'));
    fs.writeFileSync(path.join(facts.folder, 'lone/Dockerfile'), `FROM ${base}:1\nLABEL lone=yes\n`);
    const context = { context: path.join(facts.folder, 'lone'), src: ['Dockerfile'] };
    await followed(await docker.buildImage(context, { t: 'lone:1' }));
    assert.strictEqual((await inspect('lone:1')).Config.Labels.lone, 'yes');
  },

  async 'build from a tar'() {
    await followed(await docker.buildImage(file('small.tar'), { t: 'tarred:1' }));
    const stream = fs.createReadStream(file('small.tar')).pipe(zlib.createGzip());
    await followed(await docker.buildImage(stream, { t: 'tarred:2' }));
    assert.strictEqual((await inspect('tarred:2')).Id, (await inspect('tarred:1')).Id);
    const buffer = fs.readFileSync(file('small.tar'));
    await followed(await docker.buildImage(buffer, { t: 'tarred:3' }));
  },

  async 'build from an address'() {
    const options = { t: 'fetched:1', remote: `http://${facts.web}/small.tar` };
    await followed(await docker.buildImage(null, options));
    assert.strictEqual((await inspect('fetched:1')).RootFS.Layers.length, 1);
  },

  async 'build without ignored files'() {
    await build('context', { t: 'ignoring:1' });
    const folder = path.join(facts.folder, 'ignoring');
    fs.mkdirSync(folder);
    fs.writeFileSync(`${folder}/image.tar`, await bytes(await docker.getImage('ignoring:1').get()));
    execFileSync('tar', ['-xf', 'image.tar'], { cwd: folder });
    const [{ Layers: layers }] = JSON.parse(fs.readFileSync(`${folder}/manifest.json`));
    const names = layers.map((layer) => execFileSync('tar', ['-tf', layer], { cwd: folder }).toString()).join('');
    has(names, 'src/file\n');
    assert.ok(!names.includes('src/ignored'), names);
  },

  async 'build without the cache'() {
    has(text(await build('context')), 'Using cache');
    assert.ok(!text(await build('context', { nocache: true, pull: true })).includes('Using cache'));
    has(text(await build('context', { cachefrom: ['built:1'] })), 'Using cache');
  },

  async 'build on a private base'() {
    const registryconfig = { [facts.locked]: account };
    await failure(build('private', { nocache: true }), undefined, 'seed/base');
    await build('private', { t: 'private:1', registryconfig });
    assert.strictEqual((await inspect('private:1')).Config.Labels.private, 'yes');
  },

  async 'build with hosts and limits'() {
    const limits = { extrahosts: 'somewhere:10.1.2.3', shmsize: 8 << 20, networkmode: 'none', memory: 1 << 26 };
    const told = text(await build('limited', { ...limits, platform: 'linux', forcerm: true }));
    assert.match(told, /^10\.1\.2\.3\s+somewhere$/m);
    assert.match(told, /^\S+\s+8192\s.*\/dev\/shm$/m);
    assert.match(told, /^lo$/m);
  },

  async 'build that is given up'() {
    const controller = new AbortController();
    const options = { buildargs: { SECONDS: facts.seconds }, abortSignal: controller.signal };
    const stream = await docker.buildImage({ context: file('endless'), src: ['Dockerfile'] }, options);
    stream.on('error', () => {});
    stream.resume();
    await sleep(true);
    controller.abort();
    await sleep(false);
  },

  async 'build over a session'() {
    const lines = await build('context', { t: 'session:1', version: '2' });
    const { Id } = await inspect('session:1');
    assert.strictEqual(lines.find((line) => line.id === 'moby.image.id').aux.ID, Id);
    const trace = lines.filter((line) => line.id === 'moby.buildkit.trace');
    has(Buffer.concat(trace.map((line) => Buffer.from(line.aux, 'base64'))).toString('latin1'), 'RUN echo');
    const words = 'did not complete successfully: exit code: 7';
    await failure(build('failing', { version: '2' }), undefined, words);
  },

  async 'build that fails'() {
    const words = "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7";
    const error = await failure(build('failing'), undefined, words);
    has(text(error.lines), 'before');
    assert.strictEqual(error.lines.at(-1).errorDetail.code, 7);
  },

  async pull() {
    await remove(`${base}:1`, { force: true });
    const lines = await followed(await docker.pull(`${base}:1`));
    assert.strictEqual(lines[0].id, '1');
    assert.strictEqual(lines.at(-1).status, `Status: Downloaded newer image for ${base}:1`);
  },

  async 'pull by digest'() {
    const digest = (await inspect(`${base}:1`)).RepoDigests.find((name) => name.startsWith(base));
    await remove(`${base}:1`, { force: true });
    await followed(await docker.pull(digest));
    has((await inspect(digest)).RepoDigests, digest);
  },

  async 'pull all tags'() {
    await followed(await docker.pullAll(base));
    const tags = (await listed({ reference: [base] })).flatMap((image) => image.RepoTags);
    assert.deepStrictEqual(tags.sort(), [`${base}:1`, `${base}:2`]);
  },

  async 'pull for another platform'() {
    const many = `${facts.plain}/seed/many:1`;
    for (const architecture of ['arm64', 'amd64']) {
      await followed(await docker.pull(many, { platform: `linux/${architecture}` }));
      assert.strictEqual((await inspect(many)).Architecture, architecture);
    }
    const none = docker.pull(many, { platform: 'linux/s390x' }).then(followed);
    await failure(none, undefined, 'no matching manifest');
    await failure(docker.pull(many, { platform: 'nonsense' }), 400, 'nonsense');
  },

  async 'pull what is not there'() {
    await failure(docker.pull(`${base}:none`), 404, 'not found');
    await failure(docker.pull(own('nothing')), 404, 'not found');
  },

  async push() {
    const name = own('pushed:1');
    await small(name);
    const lines = await followed(await docker.getImage(name).push());
    assert.strictEqual(lines.at(-1).aux.Tag, '1');
    has((await inspect(name)).RepoDigests.join(' '), lines.at(-1).aux.Digest);
    await followed(await docker.getImage(own('pushed')).push({ tag: '1' }));
    const nothing = docker.getImage(own('pushed')).push({ tag: 'none' });
    await failure(nothing.then(followed), undefined, 'does not exist');
  },

  async 'push all tags'() {
    for (const tag of ['a', 'b']) await small(own(`many:${tag}`));
    const lines = await followed(await docker.getImage(own('many')).push());
    const pushed = lines.filter((line) => line.aux).map((line) => line.aux.Tag);
    assert.deepStrictEqual(pushed.sort(), ['a', 'b']);
  },

  async 'push and pull with a password'() {
    await small(locked);
    await followed(await docker.getImage(locked).push({ authconfig: account }));
    await remove(locked);
    await followed(await docker.pull(locked, { authconfig: account }));
    await inspect(locked);
  },

  async 'push without the password'() {
    await small(locked);
    const error = await failure(docker.getImage(locked).push().then(followed), undefined, '');
    assert.match(error.message, /unauthorized|no basic auth/);
  },

  async 'ask a registry'() {
    const told = await docker.getImage(`${base}:1`).distribution();
    has(told.Descriptor.digest, 'sha256:');
    assert.strictEqual(told.Platforms[0].os, 'linux');
    await failure(docker.getImage(`${base}:none`).distribution(), 404, '');
  },

  async search() {
    const found = await docker.searchImages({ term: `${facts.web}/busybox`, limit: 5 });
    assert.deepStrictEqual([found.length, found[0].name, found[0].star_count], [2, 'busybox', 3000]);
  },

  async list() {
    const id = await small('listed:1');
    const image = (await docker.listImages()).find((image) => image.Id === id);
    assert.deepStrictEqual([image.RepoTags, image.Labels], [['listed:1'], { for: 'listed:1' }]);
  },

  async 'list with filters'() {
    const [older, newer] = [await imported('older'), await imported('newer')];
    assert.deepStrictEqual(await ids({ label: ['for=older'] }), [older]);
    assert.deepStrictEqual(await ids({ reference: ['new*'] }), [newer]);
    assert.deepStrictEqual(await ids({ dangling: ['true'], label: { 'for=older': true } }), []);
    has(await ids({ since: ['older'] }), newer);
    has(await ids({ before: ['newer'] }), older);
    await failure(listed({ nonsense: ['x'] }), 400, 'nonsense');
  },

  async inspect() {
    const id = await small('seen:1');
    for (const name of ['seen:1', id, id.slice(7), id.slice(7, 19)]) {
      assert.strictEqual((await inspect(name)).Id, id);
    }
    const image = await inspect('seen:1');
    assert.deepStrictEqual([image.Os, image.RootFS.Layers.length], ['linux', 1]);
  },

  async 'inspect what is not there'() {
    const error = await failure(inspect('nothing'), 404, 'No such image: nothing:latest');
    assert.strictEqual(error.reason, 'no such image');
  },

  async history() {
    const id = await small('told:0');
    const told = await docker.getImage('told:0').history();
    assert.strictEqual(told[0].Id, id);
    has(told.map((step) => step.CreatedBy).join(), 'COPY file /file');
  },

  async tag() {
    const id = await small('tagged:1');
    await docker.getImage('tagged:1').tag({ repo: 'localhost:1/some/where', tag: '3' });
    assert.strictEqual((await inspect('localhost:1/some/where:3')).Id, id);
    await failure(docker.getImage('nothing').tag({ repo: 'x' }), 404, 'No such image');
    await failure(docker.getImage(id).tag({ repo: 'Tagged' }), 400, 'must be lowercase');
  },

  async save() {
    const id = await small('saved:1');
    has((await bytes(await docker.getImage('saved:1').get())).toString('latin1'), id.slice(7));
    await failure(docker.getImage('nothing').get(), 404, 'nothing');
  },

  async 'save several'() {
    const names = ['both:1', 'both:2'];
    for (const name of names) await small(name);
    const archive = path.join(facts.folder, 'both.tar');
    fs.writeFileSync(archive, await bytes(await docker.getImages({ names })));
    for (const name of names) await remove(name);
    const told = text(await followed(await docker.loadImage(archive)));
    for (const name of names) has(told, `Loaded image: ${name}`);
  },

  async load() {
    const id = await small('loaded:1');
    const archive = await bytes(await docker.getImage('loaded:1').get());
    await remove('loaded:1');
    has(text(await followed(await docker.loadImage(archive))), 'Loaded image: loaded:1');
    assert.strictEqual((await inspect('loaded:1')).Id, id);
    await followed(await docker.loadImage(archive, { quiet: true }));
  },

  async 'load what is no image'() {
    const told = docker.loadImage(file('garbage.tar')).then(followed);
    await failure(told, undefined, '');
  },

  async import() {
    const id = await imported('imported');
    const image = await inspect('imported');
    assert.deepStrictEqual([image.Id, image.Config.Labels], [id, { for: 'imported' }]);
  },

  async 'import from an address'() {
    const options = { fromSrc: `http://${facts.web}/root.tar`, repo: 'imported', tag: 'url' };
    const lines = await followed(await docker.createImage(options));
    assert.strictEqual(lines.at(-1).status, (await inspect('imported:url')).Id);
  },

  async remove() {
    const id = await small('removed:1');
    await docker.getImage('removed:1').tag({ repo: 'removed', tag: '2' });
    assert.deepStrictEqual(await remove('removed:2'), [{ Untagged: 'removed:2' }]);
    const told = await remove('removed:1');
    assert.deepStrictEqual(told.slice(0, 2), [{ Untagged: 'removed:1' }, { Deleted: id }]);
    await failure(remove('removed:1'), 404, 'No such image');
  },

  async 'remove by ID, several and forced'() {
    await remove((await small('several:1')).slice(7, 19));
    const id = await small('several:2');
    await docker.getImage(id).tag({ repo: 'several', tag: '3' });
    await remove(id, { force: true });
    assert.deepStrictEqual(await listed({ reference: ['several'] }), []);
  },

  async 'remove what has two names'() {
    const id = await small('two:1');
    await docker.getImage(id).tag({ repo: 'names', tag: '1' });
    await failure(remove(id), 409, 'must be forced');
  },

  async 'disk usage'() {
    const id = await small('weighed:1');
    const told = await docker.df();
    has(
      told.Images.map((image) => image.Id),
      id,
    );
    assert.deepStrictEqual([told.Containers, told.Volumes, Array.isArray(told.BuildCache)], [[], [], true]);
    assert.ok(told.LayersSize > 0);
  },

  async events() {
    const heard = [];
    const controller = new AbortController();
    const filters = { type: ['image'], label: ['for=heard:1'] };
    const stream = await docker.getEvents({ filters, abortSignal: controller.signal });
    const deleted = new Promise((done) => {
      stream.on('data', (data) => {
        const lines = data.toString().split('\n').filter(Boolean);
        heard.push(...lines.map((line) => JSON.parse(line)));
        if (heard.some((event) => event.Action === 'delete')) done();
      });
      setTimeout(done, 60000).unref();
    });
    stream.on('error', () => {});
    const id = await small('heard:1');
    await docker.getImage('heard:1').tag({ repo: 'heard', tag: '2' });
    await remove('heard:2');
    await remove('heard:1');
    await deleted;
    controller.abort();
    const actions = heard.map((event) => event.Action);
    for (const action of ['tag', 'untag', 'delete']) has(actions, action);
    assert.ok(heard.every((event) => event.id === id && event.scope === 'local'));
    const past = await bytes(await docker.getEvents({ since: 1, until: Math.floor(Date.now() / 1000) + 1 }));
    has(past.toString(), id);
  },

  async 'prune images'() {
    const left = await small('left:1');
    await small('left:2');
    await docker.getImage('left:2').tag({ repo: 'left', tag: '1' });
    let told = await docker.pruneImages({ filters: { dangling: ['true'], label: ['for=left:1'] } });
    assert.deepStrictEqual(told.ImagesDeleted[0], { Deleted: left });
    told = await docker.pruneImages({ filters: { dangling: { false: true }, label: ['for=left:2'] } });
    has(JSON.stringify(told.ImagesDeleted), '"Untagged":"left:1"');
  },

  async 'prune builds'() {
    const told = await docker.pruneBuilder();
    assert.ok(Array.isArray(told.CachesDeleted) && told.SpaceReclaimed >= 0, JSON.stringify(told));
  },

  async 'run, which is refused'() {
    await small('runs:1');
    await failure(docker.run('runs:1', ['true'], process.stderr), 501, 'does not run containers');
  },

  async 'list containers, networks and volumes'() {
    assert.deepStrictEqual(await docker.listContainers({ all: true }), []);
    assert.deepStrictEqual(await docker.listNetworks(), []);
    assert.deepStrictEqual((await docker.listVolumes()).Volumes ?? [], []);
    assert.deepStrictEqual(await docker.listPlugins(), []);
    await failure(docker.getContainer('nothing').inspect(), 404, 'No such container');
  },
};

const tell = (verb, outcome) => console.log(JSON.stringify({ verb, ...outcome }));

(async () => {
  for (const [verb, work] of Object.entries(verbs)) {
    const outcome = await work().then(
      () => ({ passed: true }),
      (error) => ({ failed: error.stack ?? String(error) }),
    );
    tell(verb, outcome);
  }
  tell('prune everything', { cannot: 'it prunes one kind at a time' });
  for (const verb of ['build with a secret and an agent', 'build to a folder and to a tar'])
    tell(verb, { cannot: 'its session answers for passwords only' });
  process.exit(0);
})();
