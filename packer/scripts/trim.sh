#!/bin/sh
echo trim
