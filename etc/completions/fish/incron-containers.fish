# fish completion for incron-containers(8)
set -l which '__fish_seen_subcommand_from provide list'
set -l list '__fish_seen_subcommand_from list'
set -l none "not $which"
complete -c incron-containers -f
complete -c incron-containers -n "$none" -a provide -d 'Print containers that come and go'
complete -c incron-containers -n "$none" -a list -d 'Show the running containers'
complete -c incron-containers -s h -l help -d 'Print a summary of the options'
complete -c incron-containers -n "$none" -s V -l version -d 'Print the version'
complete -c incron-containers -n "$which" -l engine -x -a 'podman docker containerd crio' -d 'Only these'
complete -c incron-containers -n "$which" -l watch -x -a 'auto layer root' -d 'What is watched of a container'
complete -c incron-containers -n "$which" -l stopped -d 'Also containers that do not run'
complete -c incron-containers -n "$which" -l builds -d 'Also those in which an image is built'
complete -c incron-containers -n "$which" -l podman-root -x -a '(__fish_complete_directories)' -d 'A storage directory of podman'
complete -c incron-containers -n "$which" -l podman-run -x -a '(__fish_complete_directories)' -d 'A run directory of podman or CRI-O'
complete -c incron-containers -n "$which" -l docker-run -x -a '(__fish_complete_directories)' -d 'A run directory of docker'
complete -c incron-containers -n "$which" -l containerd-run -x -a '(__fish_complete_directories)' -d 'A state directory of containerd'
complete -c incron-containers -n "$list" -l json -d 'One JSON object a line'
complete -c incron-containers -n "$list" -l follow -d 'Stay, and show what starts and ends'
