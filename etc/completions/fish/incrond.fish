# fish completion for incrond(8)
set -l running __fish_seen_subcommand_from run
complete -c incrond -n "not $running" -f -a run -d 'Serve one table in the foreground'
complete -c incrond -n "not $running" -s n -l foreground -d 'Stay in the foreground'
complete -c incrond -s f -l config -r -F -d 'Configuration file'
complete -c incrond -n "not $running" -s k -l kill -d 'End the running incrond'
complete -c incrond -n "not $running" -l check -r -F -d 'Check the configuration and tables'
complete -c incrond -n "not $running" -l user -d 'Serve only the calling user'
complete -c incrond -n "not $running" -s '?' -l about -d 'Print what this program is'
complete -c incrond -n "not $running" -s V -l version -d 'Print the version'
complete -c incrond -s h -l help -d 'Print a summary of the options'
complete -c incrond -n "$running" -F
complete -c incrond -n "$running" -l json -d 'Show events and runs as JSON lines'
complete -c incrond -n "$running" -l check -d 'Only check and explain the table'
