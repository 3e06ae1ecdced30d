#!/bin/bash
set -e
bundle check
bundle exec ruby -e 'require "sinatra/base"; puts Sinatra::VERSION'
echo predeploy >> /var/lib/hooks/sinatra
