# The machine the examples of the manual pages are run on: a device with a version, its vendor, and what the examples call
# besides fussy. Read by the script of each page.
mkdir -p /etc/fussy/keys /opt/firmware bin build/firmware-2.0/etc/app.d build/firmware-2.1/etc/app.d
export GNUPGHOME="$PWD/gnupg"
mkdir -m 700 gnupg
trap 'gpgconf --kill all' EXIT
gpg --batch --quiet --passphrase '' --quick-generate-key 'Vendor <vendor@example.com>' ed25519 sign never
gpg --batch --quiet --passphrase '' --quick-generate-key 'Reviewer <reviewer@example.com>' ed25519 sign never
gpg --batch --export >/etc/fussy/keys/vendor.pgp

# Two versions; the older one is live. Its database knows a migration more than the newer package's.
echo 2.0 >build/firmware-2.0/version
echo 2.1 >build/firmware-2.1/version
echo setting | tee build/firmware-2.0/etc/app.d/setting >build/firmware-2.1/etc/app.d/setting
for version in 2.0 2.1; do mkdir -p "build/firmware-$version/shop/migrations" "build/firmware-$version/db/versions"; done
for directory in shop/migrations db/versions; do
  touch "build/firmware-2.0/$directory/0001_first.py" "build/firmware-2.0/$directory/0002_second.py" \
    "build/firmware-2.1/$directory/0001_first.py"
done
printf '#!/bin/sh\necho "manage.py $*" >>"%s/called"\n' "$PWD" >build/firmware-2.0/manage.py
chmod +x build/firmware-2.0/manage.py
for version in 2.0 2.1; do cp "$(fussy-pack -r "build/firmware-$version")" .; done
cp "$(fussy-pack -u -r build/firmware-2.1)" .
fussy-install firmware-2.0.tar.gz.gpg >/dev/null
git init --quiet
git -c user.name=a -c user.email=a@example.com commit --quiet --allow-empty -m release

# What else the examples call.
stand_in() { # NAME SHELL
  printf '#!/bin/sh\n%s\n' "$2" >"bin/$1"
  chmod +x "bin/$1"
}
stand_in curl "cat '$PWD/firmware-2.1.tar.gz.gpg'"
stand_in jq 'python3 -c "import json, sys; print(json.load(sys.stdin)[sys.argv[1].lstrip(\".\")])" "$2"'
stand_in backup "echo \"backup \$*\" >>'$PWD/called'"
stand_in mail-report "echo mail-report >>'$PWD/called'"
stand_in alembic "echo \"alembic \$*\" >>'$PWD/called'"
export PATH="$PWD/bin:$PATH"

# What a hook gets.
export FUSSY_TARGET=/opt/firmware
set -- "$PWD/build/firmware-2.1" False
