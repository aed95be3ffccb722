# Builds and installs incron: `make && sudo make install`.
#
# PREFIX is for what the package brings; /etc, /run and /var are the machine's
# and the same for every PREFIX, because incrond's defaults name them. DESTDIR
# is put before every path, for packages. TARGET is where cargo left the
# programs.

PREFIX      ?= /usr/local
DESTDIR     ?=
TARGET      ?= target/release
CARGO       ?= cargo
INSTALL     ?= install
# FEATURES=pam: a PAM session around each user's worker.
FEATURES    ?=

sbindir      = $(PREFIX)/sbin
bindir       = $(PREFIX)/bin
mandir       = $(PREFIX)/share/man
datadir      = $(PREFIX)/share
docdir       = $(PREFIX)/share/doc/incron
# systemd looks here for /usr and for /usr/local.
unitdir      = $(PREFIX)/lib/systemd
tmpfilesdir  = $(PREFIX)/lib/tmpfiles.d
sysconfdir   = /etc
spooldir     = /var/spool/incron
statedir     = /var/lib/incron
# Tables and providers name helpers by these paths.
libexecdir   = /usr/libexec/incron
# Where incrond looks for providers unless incron.conf says otherwise.
providerdir  = $(libexecdir)/providers

SBIN = incrond
BIN  = incrontab incronctl
HELPERS = incron-containers
# incron-NAME becomes the provider NAME.
PROVIDERS = homes
MAN  = $(wildcard man/*.[1578])

.PHONY: all check install uninstall deb rpm

all:
	$(CARGO) build --release --locked --features '$(FEATURES)'

check:
	tests/run

install:
	@for p in $(SBIN) $(BIN) $(HELPERS) $(PROVIDERS:%=incron-%); do test -x $(TARGET)/$$p || \
	  { echo "$(TARGET)/$$p is not built; run make first" >&2; exit 1; }; done
	$(INSTALL) -d $(DESTDIR)$(sbindir) $(DESTDIR)$(bindir)
	for p in $(SBIN); do $(INSTALL) -m 0755 $(TARGET)/$$p $(DESTDIR)$(sbindir)/ || exit 1; done
	for p in $(BIN); do $(INSTALL) -m 0755 $(TARGET)/$$p $(DESTDIR)$(bindir)/ || exit 1; done
	for p in $(PROVIDERS); do $(INSTALL) -D -m 0755 $(TARGET)/incron-$$p \
	  $(DESTDIR)$(providerdir)/$$p || exit 1; done
	for p in $(HELPERS); do $(INSTALL) -D -m 0755 $(TARGET)/$$p \
	  $(DESTDIR)$(libexecdir)/$$p || exit 1; done
	for p in $(wildcard etc/providers/*); do $(INSTALL) -D -m 0755 $$p \
	  $(DESTDIR)$(providerdir)/$${p##*/} || exit 1; done
	for m in $(MAN); do s=$${m##*.}; $(INSTALL) -D -m 0644 $$m \
	  $(DESTDIR)$(mandir)/man$$s/$${m##*/} || exit 1; done
	$(INSTALL) -d $(DESTDIR)$(unitdir)/system $(DESTDIR)$(unitdir)/user
	for u in system user; do sed 's|/usr/sbin/|$(sbindir)/|' etc/systemd/$$u/incron.service \
	  > $(DESTDIR)$(unitdir)/$$u/incron.service || exit 1; \
	  chmod 0644 $(DESTDIR)$(unitdir)/$$u/incron.service; done
	$(INSTALL) -D -m 0644 etc/tmpfiles.d/incron.conf $(DESTDIR)$(tmpfilesdir)/incron.conf
	for p in $(SBIN) $(BIN) $(HELPERS); do \
	  $(INSTALL) -D -m 0644 etc/completions/bash/$$p \
	    $(DESTDIR)$(datadir)/bash-completion/completions/$$p && \
	  $(INSTALL) -D -m 0644 etc/completions/zsh/_$$p \
	    $(DESTDIR)$(datadir)/zsh/site-functions/_$$p && \
	  $(INSTALL) -D -m 0644 etc/completions/fish/$$p.fish \
	    $(DESTDIR)$(datadir)/fish/vendor_completions.d/$$p.fish || exit 1; done
	for d in README.md LICENSE CHANGELOG.md docs/containers.md docs/security.md; do \
	  test ! -e $$d || $(INSTALL) -D -m 0644 $$d $(DESTDIR)$(docdir)/$${d##*/} || exit 1; done
	for e in $(wildcard examples/*.incron); do \
	  $(INSTALL) -D -m 0644 $$e $(DESTDIR)$(docdir)/$$e || exit 1; done
	for e in $(wildcard examples/containers/*); do \
	  $(INSTALL) -D -p -m $$(test -x $$e && echo 0755 || echo 0644) $$e \
	    $(DESTDIR)$(docdir)/$$e || exit 1; done
	# Not into incron.d: an installation watches nobody's containers unasked.
	$(INSTALL) -D -m 0644 etc/incron.d/containers $(DESTDIR)$(datadir)/incron/containers
	$(INSTALL) -d $(DESTDIR)$(sysconfdir)/incron.d
	$(INSTALL) -d -m 0700 $(DESTDIR)$(spooldir) $(DESTDIR)$(statedir)
	# What an administrator has written stays.
	test -e $(DESTDIR)$(sysconfdir)/incron.conf || \
	  $(INSTALL) -m 0644 etc/incron.conf $(DESTDIR)$(sysconfdir)/incron.conf
	case ' $(FEATURES) ' in *' pam '*) test -e $(DESTDIR)$(sysconfdir)/pam.d/incrond || \
	  $(INSTALL) -D -m 0644 etc/pam.d/incrond $(DESTDIR)$(sysconfdir)/pam.d/incrond;; esac
	# A first installation lets nobody in. Where users have tables, the absence
	# of both lists means everyone, and goes on meaning it.
	test -e $(DESTDIR)$(sysconfdir)/incron.allow -o -e $(DESTDIR)$(sysconfdir)/incron.deny || \
	  ls $(DESTDIR)$(spooldir) | grep -q . || \
	  $(INSTALL) -m 0640 etc/incron.allow $(DESTDIR)$(sysconfdir)/incron.allow

# Configuration and tables stay.
uninstall:
	for p in $(SBIN); do rm -f $(DESTDIR)$(sbindir)/$$p; done
	for p in $(BIN); do rm -f $(DESTDIR)$(bindir)/$$p; done
	for p in $(PROVIDERS); do rm -f $(DESTDIR)$(providerdir)/$$p; done
	for p in $(HELPERS); do rm -f $(DESTDIR)$(libexecdir)/$$p; done
	for p in $(wildcard etc/providers/*); do \
	  rm -f $(DESTDIR)$(providerdir)/$${p##*/}; done
	for m in $(MAN); do rm -f $(DESTDIR)$(mandir)/man$${m##*.}/$${m##*/}; done
	rm -f $(DESTDIR)$(unitdir)/system/incron.service $(DESTDIR)$(unitdir)/user/incron.service
	rm -f $(DESTDIR)$(tmpfilesdir)/incron.conf
	for p in $(SBIN) $(BIN) $(HELPERS); do \
	  rm -f $(DESTDIR)$(datadir)/bash-completion/completions/$$p \
	    $(DESTDIR)$(datadir)/zsh/site-functions/_$$p \
	    $(DESTDIR)$(datadir)/fish/vendor_completions.d/$$p.fish; done
	rm -f $(DESTDIR)$(datadir)/incron/containers
	rm -rf $(DESTDIR)$(docdir)

# Needs cargo-deb: cargo install cargo-deb
deb:
	$(CARGO) deb

# Needs cargo-generate-rpm: cargo install cargo-generate-rpm
rpm: all
	$(CARGO) generate-rpm
