"""Every route of the description with whatever schemathesis thinks of, right and wrong, against a running micad (see tests/openapi/fuzz)."""
import collections, json, os, zlib

import jsonschema_rs
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (content_type_conformance, response_headers_conformance,
                                               response_schema_conformance, status_code_conformance)

import goods
from socket_session import BASE, Session

# An answer takes no longer, whatever was asked.
SECONDS = 60
SOCKET = os.environ['MICA_FUZZ_SOCKET']
EXAMPLES = int(os.environ['MICA_FUZZ_EXAMPLES'])
SEED = int(os.environ['MICA_FUZZ_SEED'])
REGISTRY = os.environ['MICA_FUZZ_REGISTRY']
# Values of `until` for the stream of events, which would have no end without one.
ENDS = ['1', '1.5', '0', 'x', '1970-01-02', '-', '24h']

session = Session(SOCKET)
description = session.get(BASE + '/mica/openapi.json', timeout=SECONDS).json()
load_all_checks()
schema = schemathesis.openapi.from_dict(description, config=SchemathesisConfig.from_dict({
    # which methods are answered with 404 is the business of other tests
    'phases': {'coverage': {'unexpected-methods': []}},
}))
CHECKS = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]


def line_validators():
    """For each described stream of lines, what its lines are like."""
    found = {}
    for path, item in description['paths'].items():
        for method, operation in item.items():
            answer = operation.get('responses', {}).get('200', {}) if isinstance(operation, dict) else {}
            if '$ref' in answer:
                answer = description['components']['responses'][answer['$ref'].split('/')[-1]]
            lines = answer.get('content', {}).get('application/json', {}).get('x-itemSchema')
            if lines:
                found[method.upper(), path] = jsonschema_rs.validator_for({**lines, 'components': description['components']})
    return found


LINES = line_validators()
ASKED, ANSWERED = collections.Counter(), collections.Counter()


@schemathesis.serializer('application/x-tar')
def tar(_, value):
    return value if isinstance(value, bytes) else json.dumps(value, default=str).encode()


def fair(case):
    """Makes half of the cases good enough to get past the first look: a name that is there, a body that is right."""
    path, draw = case.operation.path, zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode())
    if path == '/events':
        query = case.query if isinstance(case.query, dict) else {}
        case.query = {**query, 'until': ENDS[draw % len(ENDS)]}
    if path == '/images/search' and isinstance(case.query, dict) and case.query.get('term'):
        case.query = {**case.query, 'term': f"{REGISTRY}/{case.query['term']}"}
    if draw & 1 and isinstance(case.path_parameters, dict) and 'name' in case.path_parameters:
        name = f'{REGISTRY}/{goods.NAME}' if draw & 4 else goods.NAME
        case.path_parameters = {**case.path_parameters, 'name': name}
    if draw & 1 and path == '/auth' and isinstance(case.body, dict):
        case.body = {**case.body, 'serveraddress': REGISTRY}
    if draw & 2 and path in goods.BODIES:
        return {'data': goods.BODIES[path]}
    return {}


def check_lines(case, response):
    validator = LINES.get((case.method.upper(), case.operation.path))
    if validator is None or response.status_code != 200:
        return
    lines = [json.loads(line) for line in response.content.splitlines() if line]
    for line in lines:
        validator.validate(line)
    failed = [number for number, line in enumerate(lines) if 'error' in line]
    assert failed in ([], [len(lines) - 1]), f'a failure is not the last line: {lines}'
    for number in failed:
        assert lines[number]['error'] == lines[number]['errorDetail']['message']
        sane(lines[number]['error'])


def sane(message):
    assert message.strip(), 'an error that says nothing'
    assert 'ended without a result' not in message, f'a worker panicked: {message}'


@schema.parametrize()
@seed(SEED)
@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck),
          phases=[Phase.explicit, Phase.generate, Phase.shrink])
def test_route(case):
    more = fair(case)
    before = session.connections
    ASKED[case.operation.label] += 1
    response = case.call(base_url=BASE, session=session, timeout=SECONDS, **more)
    assert response.elapsed < SECONDS
    ANSWERED[response.status_code] += 1
    case.validate_response(response, checks=CHECKS)
    check_lines(case, response)
    if response.status_code >= 400 and case.method.upper() != 'HEAD':
        sane(response.json()['message'])
    ping = session.get(BASE + '/_ping', timeout=SECONDS)
    assert ping.text == 'OK'
    ends = response.status_code == 101 or response.headers.get('connection', ['']) == ['close']
    if not ends and before > 0:
        assert session.connections == before, 'the connection was closed without a word'
    if goods.NAME in str(case.path_parameters) and case.method.upper() == 'DELETE' or case.operation.path.endswith('/prune'):
        session.post(BASE + '/images/load', data=goods.IMAGE, timeout=SECONDS)


def test_last():
    """Every route was asked, and not only wrongly."""
    missing = {operation.ok().label for operation in schema.get_all_operations()} - ASKED.keys()
    assert not missing
    print(f'{ASKED.total()} requests, answers by status:', dict(sorted(ANSWERED.items())))
