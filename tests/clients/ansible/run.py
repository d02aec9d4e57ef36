"""Ansible's community.hashi_vault against a server: run.py ADDRESS TOKEN [CA]. Prints how many tasks were tried, and fails if one of them was not as it should be."""

import json
import os
import re
import secrets
import subprocess
import sys

ADDRESS, TOKEN = sys.argv[1:3]
AUTHORITY = sys.argv[3] if len(sys.argv) > 3 else ""

variables = {
    "ansible_python_interpreter": sys.executable,
    "address": ADDRESS,
    "token": TOKEN,
    "authority": AUTHORITY,
    # It runs on each node of one cluster, with mounts of its own.
    "mark": secrets.token_hex(4),
}
environment = {
    **os.environ,
    "ANSIBLE_HASHI_VAULT_ADDR": ADDRESS,
    "ANSIBLE_HASHI_VAULT_TOKEN": TOKEN,
    "ANSIBLE_COLLECTIONS_PATH": os.path.abspath("collections"),
    "ANSIBLE_HOME": os.path.abspath("home"),
    "ANSIBLE_LOCALHOST_WARNING": "false",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
    "ANSIBLE_NOCOLOR": "true",
    "LC_ALL": "C.UTF-8",
}
if AUTHORITY:
    environment["ANSIBLE_HASHI_VAULT_CA_CERT"] = AUTHORITY
    environment["REQUESTS_CA_BUNDLE"] = AUTHORITY
command = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "play.yml", "--extra-vars", json.dumps(variables)]
done = subprocess.run(command, env=environment, capture_output=True, text=True)
recap = re.search(r"localhost\s+: ok=(\d+) .*unreachable=0 +failed=0", done.stdout)
if done.returncode or not recap:
    print(done.stdout, done.stderr, file=sys.stderr)
    sys.exit(1)
print("operations", recap[1])
