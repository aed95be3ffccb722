#!/bin/bash
# A whole machine: Debian's incron with live tables is upgraded to our package
# under systemd; users edit tables; the daemon is reloaded, restarted and
# killed; the package is removed and installed afresh.
#
# It boots a Debian root of its own with systemd-nspawn, with its own network
# and its own file systems: systemd must never boot on a shared root, where its
# rules would empty /tmp. The root is made once and kept in target/nspawn.
#
# Prints "N passed, N failed". INCRON_DEB names a package that is already built.
set -u
cd "$(dirname "$0")/.." || exit 1

WORK=${CARGO_TARGET_DIR:-target}/nspawn
BASE=$WORK/base
ROOT=$WORK/root.$$
CONSOLE=$WORK/console.log
SUITE=bookworm
passed=0 failed=0 machine='' leader=''
# Says more where a promise is not kept.
witness=''

skip() {
	echo "skipped: $1"
	echo "0 passed, 0 failed"
	exit 0
}

[ "$(id -u)" = 0 ] || skip "needs root"
for tool in systemd-nspawn debootstrap nsenter; do
	command -v "$tool" >/dev/null || skip "no $tool here"
done

# --- the machine -----------------------------------------------------------

make_base() {
	[ -d "$BASE" ] && return
	rm -rf "$BASE.tmp"
	echo "making $BASE (once)"
	debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,libpam-systemd,incron \
		"$SUITE" "$BASE.tmp" >"$WORK/debootstrap.log" 2>&1 || {
		rm -rf "$BASE.tmp"
		skip "debootstrap failed, see $WORK/debootstrap.log"
	}
	mv "$BASE.tmp" "$BASE"
}

make_package() {
	[ -n "${INCRON_DEB:-}" ] && return
	PATH=$PATH:$WORK/tools/bin
	if ! command -v cargo-deb >/dev/null; then
		echo "building cargo-deb (once)"
		cargo install --quiet --locked --root "$WORK/tools" cargo-deb >"$WORK/tools.log" 2>&1 ||
			skip "no cargo-deb, and it cannot be installed: see $WORK/tools.log"
	fi
	INCRON_DEB=$WORK/incron.deb
	cargo deb --fast --quiet -o "$INCRON_DEB" >"$WORK/deb.log" 2>&1 || {
		cat "$WORK/deb.log"
		echo "0 passed, 1 failed"
		exit 1
	}
}

boot() {
	# The system calls, which it would forbid, are the container monitor's. It has two
	# parts of this disk and never all of it, as a container with a volume has: the second
	# has a shorter path than its root, and must not be taken for the one to look in.
	mkdir -p "$WORK/b"
	systemd-nspawn -q -D "$ROOT" --register=no --keep-unit --private-network -b \
		--bind-ro="$(realpath "$WORK/b")":/mnt \
		--system-call-filter="fanotify_init fanotify_mark open_by_handle_at" \
		--console=pipe systemd.unified_cgroup_hierarchy=0 </dev/null >"$CONSOLE" 2>&1 &
	machine=$!
	await find_leader || return 1
	await inside systemctl is-system-running --wait >/dev/null 2>&1
	# "degraded" is some other unit's affair; what matters is tested below.
	inside systemctl is-active dbus >/dev/null
}

# The machine's process 1, as a number of ours.
find_leader() {
	leader=$(pgrep -P "$machine" | head -n 1)
	[ -n "$leader" ] && [ "$(cat "/proc/$leader/comm" 2>/dev/null)" = systemd ]
}

halt() {
	[ -n "$machine" ] && kill "$machine" 2>/dev/null && wait "$machine" 2>/dev/null
	rm -rf "$ROOT"
}
trap halt EXIT

# inside COMMAND...: runs it in the machine, as root.
inside() {
	nsenter -t "$leader" -m -u -i -n -p -r -w -- \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C "$@"
}

# as USER SCRIPT: a login of the user's, more or less.
as() { inside setpriv --reuid="$1" --regid="$1" --init-groups \
	env HOME="/home/$1" LOGNAME="$1" USER="$1" sh -c "cd; $2"; }

# Nothing is waited for longer, in seconds; on no machine does it take as long.
PATIENCE=60

# await COMMAND...: until it succeeds. Files in the machine change behind two mount
# namespaces, so there is nothing to wait on but the condition.
await() {
	local end=$((${EPOCHREALTIME/./} + PATIENCE * 1000000))
	until "$@"; do
		[ "${EPOCHREALTIME/./}" -lt $end ] || return 1
		sleep 0.05
	done
}

# --- promises --------------------------------------------------------------

promise() {
	local what=$1
	shift
	if "$@" >"$WORK/last.log" 2>&1; then
		passed=$((passed + 1))
		echo "ok      $what"
	else
		failed=$((failed + 1))
		echo "FAILED  $what"
		sed 's/^/        /' "$WORK/last.log" | tail -n 20
		inside journalctl -u incron -n 8 --no-pager 2>/dev/null | sed 's/^/        | /'
		[ -z "$witness" ] || "$witness" 2>&1 | sed 's/^/        > /'
	fi
}

not() { ! "$@"; }

# runs USER FILE: a change of in/FILE in the user's home runs the user's command,
# which says who it is.
runs() {
	local user=$1 file=$2 home=/home/$1 out
	[ "$user" = root ] && home=/srv
	inside sh -c "echo x > $home/in/$file"
	out=$home/out/$file
	await inside test -s "$out" || { echo "$out did not come"; return 1; }
	[ "$(inside cat "$out")" = "$user" ] || { inside cat "$out"; return 1; }
}

# Each of the files n1, n2 ... once: as many lines in the log as files.
exactly() {
	local log=$1 count=$2
	await inside sh -c "[ \$(grep -c '^n' $log) -ge $count ]" || {
		inside wc -l "$log"
		return 1
	}
	[ "$(inside grep '^n' "$log" | sort -u | wc -l)" = "$count" ]
}

mode_of() { inside stat -c '%a %U:%G' "$1"; }
workers() { inside pgrep -u "$1" -x incrond; }
is() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; return 1; }; }

table() { echo "/home/$1/in IN_CLOSE_WRITE id -un > /home/$1/out/\$#"; }

# --- Debian's incron, with live tables -------------------------------------

prepare() {
	local user
	for user in alice bob carol; do
		inside useradd -m -s /bin/sh "$user"
		as "$user" 'mkdir in out; chmod 755 . in out'
	done
	inside sh -c 'mkdir -p /srv/in /srv/out; printf "alice\nbob\n" > /etc/incron.allow
		echo "editor = sed" >> /etc/incron.conf
		echo "/srv/in IN_CLOSE_WRITE id -un > /srv/out/\$#" > /etc/incron.d/system'
	for user in alice bob; do
		# From a file of theirs: 0.5.12 cannot read a pipe that root made.
		table "$user" | as "$user" 'cat > table'
		as "$user" 'incrontab table'
	done
	inside systemctl restart incron
}

before_upgrade() {
	# Its service is "started" before it is ready; the second time is the restart.
	await inside sh -c '[ $(journalctl -u incron | grep -c "ready to process") -ge 2 ]'
	promise "Debian's incron serves alice" runs alice old1
	promise "Debian's incron serves the system's table" runs root old1
	tables=$(inside sh -c 'cat /var/spool/incron/* /etc/incron.d/* /etc/incron.allow')
	conf=$(inside cat /etc/incron.conf)
}

upgrade() {
	cp "$INCRON_DEB" "$ROOT/root/incron.deb"
	promise "the package installs over it without a question" \
		inside sh -c 'dpkg -i /root/incron.deb </dev/null'
	promise "the service is up" await inside systemctl is-active -q incron
	promise "it is ours" inside sh -c 'incrond -V | grep -q "^incrond 1"'
	promise "tables and access lists are byte for byte as they were" is \
		"$(inside sh -c 'cat /var/spool/incron/* /etc/incron.d/* /etc/incron.allow')" "$tables"
	promise "the configuration stays" is "$(inside cat /etc/incron.conf)" "$conf"
	promise "incrontab has lost its set-id bit" is \
		"$(mode_of /usr/bin/incrontab)" "755 root:root"
	promise "the spool is root's alone" is "$(mode_of /var/spool/incron)" "700 root:root"
	promise "no process of the old one is left" \
		not inside sh -c 'ls -l /proc/[0-9]*/exe 2>/dev/null | grep "incrond (deleted)"'
	promise "alice's old table runs, as alice" runs alice new1
	promise "bob's old table runs, as bob" runs bob new1
	promise "the system's old table runs, as root" runs root new1
}

# --- users -----------------------------------------------------------------

users() {
	promise "alice installs a table from standard input" as alice \
		'echo "$HOME/in IN_CLOSE_WRITE,IN_MOVED_TO id -un > $HOME/out/\$#" | incrontab -'
	promise "and it runs" runs alice new2
	promise "bob edits his table" as bob \
		'EDITOR="sed -i s/IN_CLOSE_WRITE/IN_CLOSE_WRITE,IN_MOVED_TO/" incrontab -e'
	promise "and it is edited" sh -c "$(declare -f as inside); leader=$leader
		as bob 'incrontab -l' | grep -q IN_MOVED_TO"
	promise "and it runs" runs bob new2
	promise "carol, who is not allowed, is refused" as carol '! incrontab -l'
	promise "alice does not get bob's table" as alice '! incrontab -u bob -l'
	promise "a table with an error is refused" as alice \
		'! echo "relative IN_CREATE true" | incrontab -'
	promise "and the old one still runs" runs alice new3
	inside chmod 700 /home/bob
	promise "alice may name bob's private directory" as alice \
		'{ incrontab -l; echo "/home/bob/in IN_CLOSE_WRITE echo \$# >> $HOME/out/spied"; } |
			incrontab -'
	promise "bob's changes run bob's command" runs bob private
	promise "alice's next change runs alice's" runs alice new4
	promise "and alice has seen nothing of bob's" inside test ! -e /home/alice/out/spied
	promise "each user has one process" is "$(workers alice | wc -l) $(workers bob | wc -l)" "1 1"
}

# --- reload, restart, kill -------------------------------------------------

files() { inside sh -c "for n in \$(seq $2 $3); do echo x > $1/n\$n; done"; }

lifecycle() {
	inside sh -c 'mkdir -p /srv/many; echo "/srv/many IN_CLOSE_WRITE echo \$# >> /srv/many.log" \
		> /etc/incron.d/many'
	promise "systemctl reload" inside systemctl reload incron
	promise "a table added before the reload is there after it" await inside sh -c \
		'echo x > /srv/many/probe; grep -q probe /srv/many.log'
	inside sh -c ': > /srv/many.log'
	files /srv/many 1 300 &
	inside systemctl reload incron
	inside systemctl reload incron
	wait $!
	promise "reloads lose nothing and repeat nothing" exactly /srv/many.log 300
	promise "systemctl restart" inside systemctl restart incron
	inside sh -c ': > /srv/many.log'
	files /srv/many 301 400
	promise "what happens from then on is seen" exactly /srv/many.log 100
	promise "alice is served after the restart" runs alice restart
	promise "systemctl stop and start" inside sh -c 'systemctl stop incron && systemctl start incron'
	promise "bob is served after the start" runs bob start
}

killed() {
	local alice bob
	alice=$(workers alice) bob=$(workers bob)
	inside kill -9 "$alice"
	promise "a worker that was killed is back" await another alice "$alice"
	promise "and says when it is ready" as alice 'incrontab -d'
	promise "and serves" runs alice killed1
	promise "the others never noticed" is "$(workers bob)" "$bob"
	inside systemctl kill -s KILL --kill-who=main incron
	promise "a daemon that was killed is back" await another_main
	promise "alice is ready again" await as alice 'incrontab -d'
	promise "and served, once" runs alice killed2
	promise "by one process" is "$(workers alice | wc -l)" 1
}

another() { local now; now=$(workers "$1") && [ -n "$now" ] && [ "$now" != "$2" ]; }
another_main() { inside systemctl is-active -q incron && workers alice >/dev/null; }

# --- the container monitor ---------------------------------------------------

# No engine runs in this machine: its control groups are not its own. So a process as
# engines start one, on a real overlay, with its number in the file that they leave when
# its root is changed, is the container; real engines are tests/containers_*.rs. It is a
# service of the machine, and does what it reads from a pipe: nothing of it depends on
# where this script runs.
ID=0123456789abcdef
STATE=/run/containers/storage/overlay-containers/$ID/userdata
LAYER=/c/overlay/layer/diff

engine() {
	echo "run=$STATE id=$ID"
	cat <<-'ENGINE'
	set -eu
	layer=/c/overlay/layer
	mkdir -p /c/lower/bin /c/lower/etc /c/lower/old $layer/diff $layer/work $layer/merged $run
	mv /root/busybox /c/lower/bin/
	mkfifo /c/orders
	cd $layer
	mount -t overlay overlay -o lowerdir=/c/lower,upperdir=$layer/diff,workdir=$layer/work merged
	cat > /c/script <<'SCRIPT'
	unshare -m sh -c 'mount --make-rprivate / && cd /c/overlay/layer/merged && pivot_root . old &&
		exec /bin/busybox sh -c "busybox echo \$\$ > /old$1.new
			busybox mv /old$1.new /old$1
			busybox umount -l /old
			exec busybox sh"' sh "$8" <> /c/orders &
	wait
	SCRIPT
	cp /bin/sh /c/conmon
	exec /c/conmon /c/script -c $id -b $run -n web -p $run/pidfile
	ENGINE
}

logged() { inside journalctl -b -t podsec-inotify-check-containers | grep -F "$1"; }
listed() { inside /usr/libexec/incron/incron-containers list | grep -w web; }
served() { inside incronctl status | grep -F "provider containers: pid" | grep -F ", 1 path,"; }
# in_container COMMAND TEST...: until the layer shows what the command does.
in_container() {
	# Nobody reads any more where it was ended.
	inside timeout $PATIENCE sh -c 'echo "$1" > /c/orders' sh "$1"
	shift
	await inside test "$@"
}

# What each on the way from a layer to the journal knows; the shortest last.
containers_witness() {
	inside journalctl -b -n 12 --no-pager
	inside cat /proc/self/mountinfo
	inside sh -c "find $LAYER | xargs ls -ld"
	inside /usr/libexec/incron/incron-containers list
	inside incronctl status | head -n 8
}

CREATED="Warning: An event CREATE occurred in the container layer in configuration directory on the file /etc/probe"
DELETED="Critical: An event DELETE occurred in the container layer  on the file /bin/busybox"

containers() {
	[ -x /bin/busybox ] || { echo "left out: busybox-static is not installed"; return; }
	cp /bin/busybox "$ROOT/root/"
	engine > "$ROOT/root/engine"
	witness=containers_witness
	inside systemctl stop incron
	promise "the table for containers is put where the daemon finds it" \
		inside install -m 644 /usr/share/incron/containers /etc/incron.d/
	inside systemctl reset-failed incron # it has been started often
	promise "systemctl start incron" inside systemctl start incron
	promise "a container starts" inside systemd-run -q --collect --unit=web sh /root/engine
	promise "and is listed" await listed
	promise "and served" await served
	promise "it makes a file" in_container 'echo > /etc/probe' -e $LAYER/etc/probe
	promise "which is in the journal, in podsec's words" await logged "$CREATED"
	# What is left of a file of the image is a device.
	promise "it deletes a file of its image" \
		in_container 'busybox rm /bin/busybox' -c $LAYER/bin/busybox
	promise "which is there, too" await logged "$DELETED"
	promise "none of it is taken for an error" not sh -c "$(declare -f inside); leader=$leader
		inside journalctl -b -u incron -p warning | grep @containers"
	promise "it ends" in_container exit ! -e /proc/"$(inside cat $STATE/pidfile)"
	promise "and the list is empty" await not listed
	inside systemctl stop web 2>/dev/null # it has ended
	inside rm /etc/incron.d/containers
	witness=''
}

# --- one user's own systemd --------------------------------------------------

personal() {
	local uid
	uid=$(inside id -u carol)
	as carol 'mkdir -p .config/incron
		echo "$HOME/in IN_CLOSE_WRITE id -un > $HOME/out/\$#" > .config/incron/mine.incron'
	inside systemctl start "user@$uid.service"
	carol() { as carol "XDG_RUNTIME_DIR=/run/user/$uid $*"; }
	promise "carol, who is not allowed, starts one of her own" carol systemctl --user start incron
	promise "and it serves her" runs carol own1
	promise "and reloads" carol systemctl --user reload incron
	promise "and serves her still" runs carol own2
	promise "and stops" carol systemctl --user stop incron
}

# --- removal, and a first installation -------------------------------------

removal() {
	promise "the package installs over itself" inside sh -c 'dpkg -i /root/incron.deb </dev/null'
	promise "and alice is served" runs alice again
	promise "nothing of Debian's overrides is left" \
		not inside sh -c 'dpkg-statoverride --list "*incron*"'
	promise "the package is removed" inside dpkg -r incron
	promise "nothing of it runs" not inside pgrep -x incrond
	promise "the tables are kept" inside test -s /var/spool/incron/alice
	promise "and purged" inside dpkg -P incron
	promise "the configuration is gone" inside test ! -e /etc/incron.conf
	promise "users' tables are still theirs" inside test -s /var/spool/incron/alice
	inside rm -rf /var/spool/incron /etc/incron.d
	promise "a first installation" inside sh -c 'dpkg -i /root/incron.deb </dev/null'
	promise "is up" await inside systemctl is-active -q incron
	promise "lets nobody in until the administrator does" as alice '! incrontab -l'
	inside sh -c 'echo alice > /etc/incron.allow'
	promise "and then alice" await sh -c "$(declare -f as inside table); leader=$leader
		table alice | as alice 'incrontab -'"
	promise "who is served" runs alice first
}

mkdir -p "$WORK"
make_base
make_package
cp -a --reflink=auto "$BASE" "$ROOT"
if boot; then
	prepare
	before_upgrade
	upgrade
	users
	lifecycle
	killed
	containers
	personal
	removal
else
	failed=1
	echo "FAILED  the machine boots"
	tail -n 20 "$CONSOLE"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
