# bash completion for the fussy commands.
# Made by data/completions/generate.py from --help; change the commands, not this file.
_fussy() {
  local command=${1##*/} current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  case "$command $previous" in
    "fussy-clean -t" | \
      "fussy-clean --target" | \
      "fussy-inspect -k" | \
      "fussy-inspect --keyring" | \
      "fussy-inspect -t" | \
      "fussy-inspect --target" | \
      "fussy-install -k" | \
      "fussy-install --keyring" | \
      "fussy-install -t" | \
      "fussy-install --target" | \
      "fussy-install-bytes -k" | \
      "fussy-install-bytes --keyring" | \
      "fussy-install-bytes -t" | \
      "fussy-install-bytes --target" | \
      "fussy-keys -k" | \
      "fussy-keys --keyring" | \
      "fussy-link-tree -d" | \
      "fussy-link-tree --directory" | \
      "fussy-link-tree -t" | \
      "fussy-link-tree --target" | \
      "fussy-pack -r" | \
      "fussy-pack --root" | \
      "fussy-pack --homedir" | \
      "fussy-recover -t" | \
      "fussy-recover --target" | \
      "fussy-sign --homedir" | \
      "fussy-southrollback -f" | \
      "fussy-southrollback --final_target" | \
      "fussy-southrollback --final-target" | \
      "fussy-status -t" | \
      "fussy-status --target" | \
      "fussy-unpack -k" | \
      "fussy-unpack --keyring")
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return
      ;;
    "fussy-clean -l" | \
      "fussy-clean --logfile" | \
      "fussy-inspect -f" | \
      "fussy-inspect --file" | \
      "fussy-install -f" | \
      "fussy-install --file" | \
      "fussy-install -l" | \
      "fussy-install --logfile" | \
      "fussy-install-bytes -f" | \
      "fussy-install-bytes --file" | \
      "fussy-install-bytes -l" | \
      "fussy-install-bytes --logfile" | \
      "fussy-pack --passphrase-file" | \
      "fussy-recover -l" | \
      "fussy-recover --logfile" | \
      "fussy-sign -f" | \
      "fussy-sign --filename" | \
      "fussy-sign --passphrase-file" | \
      "fussy-unpack -f" | \
      "fussy-unpack --file")
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    "fussy-clean --wait" | \
      "fussy-clean --keep" | \
      "fussy-inspect --max-ratio" | \
      "fussy-inspect --min-signers" | \
      "fussy-inspect --allow-signer" | \
      "fussy-install --max-ratio" | \
      "fussy-install --min-signers" | \
      "fussy-install --allow-signer" | \
      "fussy-install --wait" | \
      "fussy-install --hook-timeout" | \
      "fussy-install-bytes --max-ratio" | \
      "fussy-install-bytes --min-signers" | \
      "fussy-install-bytes --allow-signer" | \
      "fussy-install-bytes --wait" | \
      "fussy-install-bytes --hook-timeout" | \
      "fussy-lock -t" | \
      "fussy-lock --timeout" | \
      "fussy-lock -w" | \
      "fussy-lock --wait" | \
      "fussy-lock -k" | \
      "fussy-lock --kill-after" | \
      "fussy-lock -E" | \
      "fussy-lock --conflict-exit-code" | \
      "fussy-pack -x" | \
      "fussy-pack --exclude" | \
      "fussy-pack -t" | \
      "fussy-pack --tarname" | \
      "fussy-pack --level" | \
      "fussy-pack -k" | \
      "fussy-pack --key" | \
      "fussy-pack -e" | \
      "fussy-pack --encrypt-for" | \
      "fussy-pack --passphrase-fd" | \
      "fussy-recover --wait" | \
      "fussy-recover --hook-timeout" | \
      "fussy-sign -k" | \
      "fussy-sign --key" | \
      "fussy-sign -e" | \
      "fussy-sign --encrypt-for" | \
      "fussy-sign --passphrase-fd" | \
      "fussy-southrollback -p" | \
      "fussy-southrollback --path" | \
      "fussy-southrollback -a" | \
      "fussy-southrollback --app" | \
      "fussy-southrollback -d" | \
      "fussy-southrollback --django-admin" | \
      "fussy-southrollback --python" | \
      "fussy-southrollback -c" | \
      "fussy-southrollback --command" | \
      "fussy-southrollback -m" | \
      "fussy-southrollback --pattern" | \
      "fussy-southrollback --zero-name" | \
      "fussy-unpack --max-ratio" | \
      "fussy-unpack --min-signers" | \
      "fussy-unpack --allow-signer")
      COMPREPLY=()
      return
      ;;
    "fussy-pack -c" | \
      "fussy-pack --compress")
      mapfile -t COMPREPLY < <(compgen -W "gzip zstd bzip2" -- "$current")
      return
      ;;
    "fussy-pack --signer" | \
      "fussy-sign --signer")
      mapfile -t COMPREPLY < <(compgen -W "fussy gpg" -- "$current")
      return
      ;;
    "fussy-southrollback --rule")
      mapfile -t COMPREPLY < <(compgen -W "position prefix" -- "$current")
      return
      ;;
  esac
  case "$command $current" in
    "fussy-clean -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -q --quiet -v --verbose --json -t --target -l --logfile --syslog --wait --keep -n --dry-run" -- "$current") ;;
    "fussy-inspect -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -f --file -k --keyring -t --target --max-ratio --min-signers --allow-signer --tree --json" -- "$current") ;;
    "fussy-install -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -q --quiet -v --verbose --json -f --file -k --keyring --max-ratio --min-signers --allow-signer -t --target -l --logfile --syslog --wait --hook-timeout -u --unpacked -n --dry-run" -- "$current") ;;
    "fussy-install-bytes -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -q --quiet -v --verbose --json -f --file -k --keyring --max-ratio --min-signers --allow-signer -t --target -l --logfile --syslog --wait --hook-timeout -n --dry-run" -- "$current") ;;
    "fussy-keys -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -k --keyring --with-colons --ignore-expiry" -- "$current") ;;
    "fussy-link-tree -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -d --directory -t --target -H --hard -c --copy -r --relative -b --backup -p --prune -n --dry-run -v --verbose" -- "$current") ;;
    "fussy-lock -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -t --timeout -w --wait -k --kill-after -E --conflict-exit-code -q --quiet -o --close --foreground" -- "$current") ;;
    "fussy-pack -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -q --quiet -v --verbose --json -r --root -x --exclude -u --unsigned -t --tarname -c --compress --level --root-owner -k --key -e --encrypt-for --homedir -a --armor --signer --passphrase-file --passphrase-fd" -- "$current") ;;
    "fussy-recover -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -q --quiet -v --verbose --json -t --target -l --logfile --syslog --wait --hook-timeout" -- "$current") ;;
    "fussy-sign -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -q --quiet -v --verbose --json -f --filename -k --key -e --encrypt-for --homedir -a --armor --signer --passphrase-file --passphrase-fd" -- "$current") ;;
    "fussy-southrollback -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -f --final_target --final-target -p --path -a --app -d --django-admin --python -c --command -m --pattern --rule --zero --zero-name -n --dry-run" -- "$current") ;;
    "fussy-status -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -t --target --json" -- "$current") ;;
    "fussy-unpack -"*) mapfile -t COMPREPLY < <(compgen -W "-h --help --version -q --quiet -v --verbose --json -f --file -k --keyring --max-ratio --min-signers --allow-signer" -- "$current") ;;
    *) case "$command" in
      fussy-inspect)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
      fussy-install)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
      fussy-install-bytes)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
      fussy-link-tree)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      ;;
      fussy-lock)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
      fussy-pack)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      ;;
      fussy-sign)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
      fussy-status)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      ;;
      fussy-unpack)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    esac ;;
  esac
}
complete -F _fussy fussy-clean fussy-inspect fussy-install fussy-install-bytes fussy-keys fussy-link-tree fussy-lock fussy-pack fussy-recover fussy-sign fussy-southrollback fussy-status fussy-unpack
