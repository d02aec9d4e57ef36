# A cluster of the nodes in $NODES, before the page is opened.
for node in $NODES; do on "$node" systemctl start aumbry; done
for node in $NODES; do
  timeout 60 bash -c "until aumbry operator seal-status --address ${CLIENT[$node]}; do sleep 0.1; done" > setup.log 2>&1
done
aumbry operator init --address "${CLIENT[n1]}" --shares 5 --threshold 3 --out-dir "$SHARES" >> setup.log
export AUMBRY_TOKEN
AUMBRY_TOKEN=$(cat "$SHARES/root-token")
for node in $NODES; do
  if [ "$node" != n1 ]; then
    aumbry operator join-token --address "${CLIENT[n1]}" |
      aumbry operator join --address "${CLIENT[$node]}" - >> setup.log
  fi
  for n in 1 2 3; do
    timeout 60 bash -c "until aumbry operator unseal --address ${CLIENT[$node]} --file $SHARES/share-$n; do sleep 0.1; done" >> setup.log 2>&1
  done
done
for node in $NODES; do
  timeout 60 bash -c "until aumbry status --address ${CLIENT[$node]}; do sleep 0.1; done" >> setup.log 2>&1
done
timeout 60 bash -c "until ! aumbry operator members --output json | grep -q '\"voter\":false'; do sleep 0.1; done"
aumbry kv put secret/before page=unopened >> setup.log
