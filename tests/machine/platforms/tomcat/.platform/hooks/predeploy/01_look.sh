#!/bin/bash
set -e
unzip -l ROOT.war | grep -q WEB-INF/classes
echo predeploy >> /var/lib/hooks/tomcat
