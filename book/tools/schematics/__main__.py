import sys

from schematics import main

main(sys.argv[1:])
