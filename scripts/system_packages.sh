#!/usr/bin/env bash
# The Debian packages that some tests run for real: a Prometheus, a Pushgateway, a Chromium.
# Installs them with SYSTEM=1 or CI=true; otherwise, and where it cannot (no apt-get, not root and no
# password-less sudo, no network), it names the tests that will be skipped. With CI=true a missing
# package is an error: nothing is skipped there.
set -uo pipefail

# package, the program it brings, what is skipped without it
PACKAGES="\
prometheus promtool tests of rules and of the live stack (tests/deploy/test_prometheus.py, tests/e2e/test_live.py)
prometheus-pushgateway prometheus-pushgateway tests of pushed metrics (tests/exporters/test_pushgateway.py)
chromium chromium tests of pages in a browser (tests/e2e/test_web_ui.py, tests/report/files/test_page_in_browser.py)"

missing() {
    while read -r package program skipped; do
        command -v "$program" >/dev/null || echo "$package $skipped"
    done <<<"$PACKAGES"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

install() {
    command -v apt-get >/dev/null || { echo "no apt-get on this machine"; return 1; }
    as_root true 2>/dev/null || { echo "neither root nor sudo without a password"; return 1; }
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

wanted=$(missing | cut -d' ' -f1)
[ -z "$wanted" ] && exit 0
if [ "${SYSTEM:-}" = 1 ] || [ "${CI:-}" = true ]; then
    echo "system packages: installing" $wanted
    # shellcheck disable=SC2086  # one word per package
    install $wanted || echo "system packages: could not install" $wanted
else
    echo "system packages: SYSTEM=1 make test would install" $wanted
fi

left=$(missing)
[ -z "$left" ] && exit 0
while read -r package skipped; do
    echo "system packages: no $package; skipped: $skipped"
done <<<"$left"
if [ "${CI:-}" = true ]; then
    echo "system packages: CI=true, so nothing may be skipped: install them in the image of the job"
    exit 1
fi
