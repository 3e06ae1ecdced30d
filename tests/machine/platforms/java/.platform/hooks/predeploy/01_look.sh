#!/bin/bash
set -e
java -version
echo predeploy >> /var/lib/hooks/java
